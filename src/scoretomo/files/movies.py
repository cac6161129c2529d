"""Frames as MP4, GIF and PNG."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image

from .writing import atomic

_QUALITY = "16"  # of x264's scale, where 0 is lossless; nothing is to be seen below 18
_COLOURS = 254  # of a GIF, beside black and white
_BT709 = 1


def write_mp4(path: Path, frames: Sequence[np.ndarray], seconds: Fraction) -> None:
    """Write a movie that every player and slide program shows (H.264); needs PyAV, of the ``figures`` extra.

    The same frames give the same file.

    Args:
        path: where.
        frames: (y, x, 3) uint8 each, with even sides.
        seconds: that each frame is shown.
    """
    import av

    height, width = frames[0].shape[:2]
    with (
        atomic(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as movie,
    ):
        stream = movie.add_stream(
            "libx264", rate=1 / seconds, options={"crf": _QUALITY, "preset": "slow", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            movie.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace="ITU709")))
        movie.mux(stream.encode(None))


def write_gif(path: Path, frames: Sequence[np.ndarray], seconds: Fraction) -> None:
    """Write a movie that repeats for ever, in 256 colours that all frames have in common; arguments as of
    `write_mp4`.
    """
    thin = np.concatenate([frame[::4, ::4].reshape(-1, 3) for frame in frames])
    seen, counts = np.unique(thin, axis=0, return_counts=True)
    weighed = np.repeat(
        seen, np.ceil(np.sqrt(counts)).astype(int), axis=0
    )  # else paper takes most, and rare colours none
    chosen = PIL.Image.fromarray(weighed[None]).quantize(_COLOURS, PIL.Image.Quantize.MEDIANCUT).getpalette() or []
    palette = PIL.Image.new("P", (1, 1))
    palette.putpalette([*chosen[: 3 * _COLOURS], 0, 0, 0, 255, 255, 255])  # paper stays white
    pictures = [PIL.Image.fromarray(frame).quantize(palette=palette, dither=PIL.Image.Dither.NONE) for frame in frames]
    with atomic(path) as temporary:
        pictures[0].save(
            temporary,
            "gif",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * seconds),
            loop=0,
            optimize=False,
        )


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture, (y, x) or (y, x, 3) uint8."""
    with atomic(path) as temporary:
        PIL.Image.fromarray(picture).save(temporary, "png")
