"""The columns of every table of a run, and the entries of its records: what they are called, their units, how they are
rounded.

Images have the numbers of the user's stack, from 0. Lengths are in pixels of the run, angles in degrees, resolutions in
Å, or in pixels of the run where the pixel size is unknown. A correlation is that of an image with a view, inside the
mask. A residual fraction is ‖image − view‖² / ‖image‖², with the best brightness.
"""

from typing import Annotated, Any, Literal, NamedTuple

from .tables import CountedFrom, Decimals, Digits

FORMAT = 4  # of a run directory; it changes when names or columns do

Two = Annotated[float, Decimals(2)]
Three = Annotated[float, Decimals(3)]
Four = Annotated[float, Decimals(4)]
Five = Annotated[float, Decimals(5)]
SixDecimals = Annotated[float, Decimals(6)]
SevenDecimals = Annotated[float, Decimals(7)]
SixDigits = Annotated[float, Digits(6)]
Verdict = Literal["flexible", "rigid", "undetermined"]  # the last where images are too few for a test
Label = Literal["reliable", "caution", "unreliable"]
Status = Literal["done", "diverged"]
MotionKind = Literal["none", "smooth", "bodies"]  # no motion, a smooth deformation, or rigid bodies


class ImportRecord(NamedTuple):
    """images.json: the request, the files that were read, and what holds for the whole stack."""

    source: str  # the user's file
    image_count: int  # in it
    size: int  # side of the prepared images, in pixels
    side: int  # of the field of view, in pixels of the input
    pixel_size: float | None  # Å
    original_size: tuple[int, ...]  # height and width of the images in the file
    original_pixel_size: float | None
    mu: float  # a normalised image is (x − mu) / s
    s: float
    notes: tuple[str, ...]
    request: dict[str, Any]  # stack, pixel size and settings
    files: tuple[dict[str, Any], ...]  # every file that was read: path, size, times, SHA-256
    junk: dict[str, float]  # criteria by which images were excluded
    format: int = FORMAT


class ImageRow(NamedTuple):
    """images.csv: every image of the stack. A prepared image is (x − background) · scale, moved by the shift."""

    number: int
    source: str  # the image in the user's files
    included: bool
    slice: int | None  # its place in images.mrcs, from 0
    reason: str  # why it was excluded
    warning: str
    background: float | None
    scale: float | None
    shift_x: float | None  # pixels of the input
    shift_y: float | None


class StartRow(NamedTuple):
    """consensus/starts.csv: what each random start came to at low resolution."""

    start: int
    correlation: Five  # mean, of images with their views
    fsc: Four  # mean FSC with the best start
    agrees: bool  # it came to the same volume


class SymmetryRow(NamedTuple):
    """consensus/symmetry.csv: point groups that were tried."""

    symmetry: str  # point group: C1, D2, …
    fsc: Four  # of the consensus with itself, turned
    held_out_correlation: Five  # mean, of held-out images with views of a consensus of other images


class ConsensusSummary(NamedTuple):
    """consensus/summary.json: how well the consensus explains its images."""

    symmetry: str  # point group that was imposed
    correlation: Five  # mean, of the images that it explains with their views
    held_out_correlation: Five  # the same with views of a consensus of other images
    held_out_resolution: Four  # down to which such views agree with the images (Fourier ring correlation 0.5)


class PoseRow(NamedTuple):
    """poses.csv: the image is f(V, R(rot, tilt, psi)) moved by the shift."""

    image: int
    rot: Four  # Euler angles as in RELION
    tilt: Four
    psi: Four
    shift_x: Four
    shift_y: Four
    correlation: Five  # with its view
    outlier: bool  # no view explains it
    class_number: int  # 1, or 2 where it shows the second molecule of a mixture


class HeldOutRow(NamedTuple):
    """flexibility/rigid.csv and flexible.csv: a held-out image and the model that was fitted to the others."""

    image: int
    residual_fraction: Annotated[float, Decimals(8)]  # of its view in the best pose and conformation
    displacement: Five  # root mean square over the mass, in pixels of the model's side


class ModeRow(NamedTuple):
    """flexibility/modes.csv: how far an image is along each mode that held-out images confirm, in pixels of the model's
    side.
    """

    image: int
    mode: tuple[SixDigits, ...]


class FlexibilityTest(NamedTuple):
    """flexibility/test.json: whether a deformation model explains held-out images better than a rigid one; nulls where
    undetermined.
    """

    rigid_residual: SixDecimals | None  # mean residual fraction of held-out images, by the rigid model
    flexible_residual: SixDecimals | None  # the same by the deformation model
    displacement: Four | None  # of its mass, in one image of five
    statistic: Four | None  # explanation/flexibility-test.md has its formula
    threshold: float  # flexible where the statistic is above
    verdict: Verdict


class AssignmentRow(NamedTuple):
    """assignment/hard.csv and soft.csv: a held-out image and the consensus of the others."""

    image: int
    correlation: SevenDecimals  # with the view of that consensus in the best pose


class AssignmentTest(NamedTuple):
    """assignment/test.json: whether held-out images of a rigid molecule are explained better by a soft assignment."""

    hard_correlation: SevenDecimals  # mean, of held-out images with views of a consensus of other images
    soft_correlation: SevenDecimals  # the same with soft assignment
    standard_errors: SixDigits  # how many the difference is
    soft: bool  # the consensus was made again with soft assignment


class LatentRow(NamedTuple):
    """latent.csv: the latent coordinates of an image in the deformation model."""

    image: int
    z: tuple[Five, ...]


class ProposalRow(NamedTuple):
    """bodies/proposals.csv: rigid bodies among the points of the deformation model, for one tolerance."""

    tolerance: SixDecimals  # deviation of points from one rigid body, in half sides of the box
    bodies: int  # in the end
    modes: int
    saturation: SixDigits  # one over the density of full matter; 0 where densities add up
    residual_fraction: Annotated[float, Decimals(8)]  # median, of held-out images


class BodiesTest(NamedTuple):
    """bodies/test.json: whether rigid bodies explain held-out images better than the smooth deformation model; nulls
    where there are none.
    """

    smooth_residual: SixDecimals | None  # median residual fraction of held-out images, by the deformation model
    bodies_residual: SixDecimals | None  # the same by the best rigid bodies
    threshold: float  # rigid bodies where their residual is at most this times that of the deformation model
    motion: MotionKind


class BodyRow(NamedTuple):
    """bodies.csv: a rigid body; the first one rests in the common frame. Its motion is a turn about an axis through a
    pivot, and a slide along that axis; both are from the 5th to the 95th percentile of the images. Lengths are in Å, or
    in pixels of the run where the pixel size is unknown.
    """

    body: int  # from 1
    mass: Four  # share of the whole
    mode: int | None  # latent coordinate by which it moves most, from 1; none of the first body
    degrees: Two | None
    slide: Two | None
    axis_x: Four | None  # unit vector
    axis_y: Four | None
    axis_z: Four | None
    pivot_x: Two | None  # from the middle of the box
    pivot_y: Two | None
    pivot_z: Two | None
    displacement: Two | None  # of its mass, root mean square over the images


class AngleRow(NamedTuple):
    """angles.csv: how far each body but the first has turned in an image, from its mean; 0 of a body that only slides,
    whose place is in latent.csv.
    """

    image: int
    angle: tuple[Three, ...]  # degrees
    standard_error: tuple[Three, ...]  # degrees, from the curvature of the image's residual


class SupportTest(NamedTuple):
    """support.json: how denoising changes held-out images and views, root mean square over pixels and noise levels."""

    tested: bool  # there were images enough, and volumes that are not those of rigid bodies
    includes_views: bool  # the score includes views of the consensus volume besides the images
    held_out_error: float | None  # of held-out images
    held_out_error_with_views: float | None  # if the score also includes views of the consensus volume
    low_noise_error: float | None  # of held-out images, where a refinement ends
    model_error: float | None  # of views of the deformation model, there
    model_is_near: bool | None  # denoising changes these hardly more than held-out images; None without a model


class VolumeRow(NamedTuple):
    """volumes.csv: the volume of an image."""

    image: int
    file: str  # within the run; empty if the descent diverged
    status: Status
    seconds: Two  # of the descents of its batch, shared evenly
    steps: int  # of its descent, as planned
    start_weight: float | None  # share of the start in the volume
    anchor_correlation: Five  # of the image with the view in its pose
    anchor_residual: Five  # ‖f(V, I) − x‖ / ‖x‖ of its image x, at the last step
    view_residual: Five | None  # root mean square of f(V, R) − D(f(V, R), t) over random views, at the last step; empty
    # without a descent
    replicate_fsc: Five | None  # mean FSC of pairs of replicates
    diverged_at: int | None = None  # step of its descent; empty if it did not diverge


class ConvergenceRow(NamedTuple):
    """convergence/000.csv: one step of a descent."""

    step: int
    t: float  # noise level
    views: int  # how many the step has
    anchor_residual: float  # as in volumes.csv
    view_residual: float


class LandscapeRow(NamedTuple):
    """landscape.csv: where a volume is."""

    image: int
    state: int  # from 1
    mode: tuple[Five, ...]  # along each mode of motion, mean 0, standard deviation 1; none where these are not counted
    component: tuple[SixDigits, ...]  # along the first principal components
    umap: tuple[Four, ...]  # none without --umap


class ScreeRow(NamedTuple):
    """landscape/scree.csv: a principal component of the volumes."""

    component: int  # from 1
    variance: SixDigits  # of the volumes along it
    share: Five  # of the whole variance
    noise_floor: SixDigits  # variance of replicates along it


class StateRow(NamedTuple):
    """landscape/states.csv: a group of volumes."""

    state: int  # from 1
    volumes: int  # how many
    representative: int  # image whose volume is in its middle
    frame: int  # of landscape/states/, at which it is


class ObservabilityRow(NamedTuple):
    """landscape/observability.csv: how much of each mode the view of an image shows, beside an average view (1: as much
    or more).
    """

    image: int
    observability: tuple[Three, ...]  # of each mode


class Trajectory(NamedTuple):
    """A series of volumes in landscape/, from one end of a mode to the other."""

    name: str  # mode-1, or component-1 where modes are not counted
    displacement: Two  # of the parts that move farthest
    moved_fraction: Four  # share of the molecule that changes place


class LandscapeSummary(NamedTuple):
    """landscape/summary.json: heterogeneity of the volumes."""

    volumes: int
    modes: int | None  # how many; None if they were not counted
    trajectories: tuple[Trajectory, ...]
    verdict: Verdict  # of the flexibility test
    significant_components: int
    variance: float  # of the volumes
    noise_floor: float  # of their replicates
    shells: int  # up to which replicates agree
    side: int  # of the maps, in voxels


class ReliabilityRow(NamedTuple):
    """reliability.csv: how far a volume can be relied on, and the predictors of that."""

    image: int
    expected_fsc: Three | None  # mean FSC with the truth, down to the resolution
    low: Three | None  # lower end of its 80 % interval
    high: Three | None  # upper end
    resolution: Two | None  # of the last shell that counts
    label: Label
    reason: str  # of the label, in words
    replicate_fsc: Five | None  # mean, in the shells that images determine
    correlation: Five  # of the image with its view
    isolation: Five | None  # of its conformation from those of other images
    observability: tuple[Three | None, ...]  # of each mode, as in landscape/observability.csv


class FscRow(NamedTuple):
    """evaluation/fsc.csv: a map against its truth, and the alignment that moves it there."""

    image: int
    truth: str  # file
    hand: Literal["same", "mirrored"]
    mean_fsc: Five  # over shells 1 to half the side
    auc: Five  # area under the FSC from 0 to 0.5 cycles per pixel, at most 0.5
    resolution_0_5: Three  # where the FSC falls below 0.5
    resolution_0_143: Three  # where it falls below 0.143
    rot: Three | None  # of the rotation that moves the map onto its truth
    tilt: Three | None
    psi: Three | None
    shift_x: Three | None  # voxels
    shift_y: Three | None
    shift_z: Three | None


class FscCurveRow(NamedTuple):
    """evaluation/fsc_curves.csv: FSC of a map with its truth, shell by shell."""

    image: int
    shell: Annotated[tuple[Five | None, ...], CountedFrom(0)]


class Remark(NamedTuple):
    """A remark on a map, its truth, or both together."""

    sentence: str
    kind: str  # the same for remarks of this kind on all maps


class Agreement(NamedTuple):
    """How well a map agrees with a truth."""

    mean_fsc: float
    auc: float


class Comparison(NamedTuple):
    """evaluation/progress.jsonl: a map that was compared with its truth."""

    result: FscRow
    curve: tuple[Five, ...]  # FSC, shell by shell
    pixel_size: float | None  # of the grid of the FSC, Å
    size: int  # of this grid, in voxels
    remarks: tuple[Remark, ...]
    single_map: Agreement | None  # of the best single rigid map
    ceiling: Agreement | None  # of the truth after interpolation


class EvaluationSummary(NamedTuple):
    """evaluation/summary.json: means over all maps, and where single images have truths in known poses, the
    conformation gain.
    """

    n: int
    mean_fsc: float
    auc: float
    unit: str  # of resolutions: Å or px
    size: int  # side of the grid of the FSC, in voxels
    pixel_size: float | None
    notes: tuple[str, ...] = ()
    single_map_mean_fsc: float | None = None  # of the best single rigid map
    ceiling_mean_fsc: float | None = None  # of truths after interpolation
    conformation_gain: float | None = None  # 0: no better than the single map; 1: as good as the truths
    single_map_auc: float | None = None
    ceiling_auc: float | None = None
    conformation_gain_auc: float | None = None
    mean_curve: tuple[float, ...] = ()


class NetworkRecord(NamedTuple):
    """In score/weights.safetensors: how the network was trained, and the images that it is for."""

    scoretomo: str  # version
    network: str  # fast | paper | paper-ribosome
    architecture: dict[str, Any]
    examples: int  # noisy images that the network has seen
    seed: int
    size: int  # side of the images, in pixels
    sigma_data: float  # root mean square of the normalised images
    background: float  # of normalised images
    mu: float  # a normalised image is (x − mu) / s
    s: float
    held_out: tuple[int, ...]  # images that the network has not seen


class LossRow(NamedTuple):
    """score/loss.csv: a stretch of training."""

    images_seen: int  # since the beginning
    loss: float  # mean of the stretch
    rate: float  # learning rate at its end
    seconds: float  # since the beginning


class DenoisingRow(NamedTuple):
    """score/denoising.csv: denoising error at noise level t."""

    t: Five  # noise level
    network_training: float | None  # error of the network on training images
    network_held_out: float | None
    exact_training: float | None  # error of the exact score of the training images
    exact_held_out: float | None
    wiener: float  # error of the best linear filter


class SampleRow(NamedTuple):
    """samples/samples.csv: an image drawn from the network score, and the class average nearest to it."""

    sample: int  # its place in the stack of samples
    nearest: int  # a prepared image
    angle: Two  # from x to y, after the flip
    flipped: bool  # x → −x
    correlation: Five  # with the nearest
    natural_correlation: Five  # of that with the class average nearest to it
