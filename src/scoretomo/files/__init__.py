"""Class averages, volumes, tables and run records ⇄ arrays; every write is atomic."""

from ..errors import InputError
from .exports import (
    Program,
    write_cryodrgn,
    write_cryosparc_particles,
    write_cryosparc_volumes,
    write_eman,
    write_eman_list,
)
from .images import ImageStack, Map, find_images, find_map, is_map, read_images, read_map
from .models import Assembly, Model, is_model, read_assembly, read_model, require_trajectory, select_atoms
from .movies import write_gif, write_mp4, write_png
from .mrc import write_images, write_map
from .reading import FoundStack, StoredArray, file_size, legible, sensible_pixel_size
from .records import append_record, read_json, read_records, read_table, read_toml, write_json, write_table
from .star import write_pose_star, write_reference_star
from .weights import read_weights, write_weights
from .writing import (
    atomic,
    is_alive,
    make_folder,
    put_in_place,
    recover,
    remove_unfinished,
    replaced_together,
    write_text,
)

__all__ = [
    "Assembly",
    "FoundStack",
    "ImageStack",
    "InputError",
    "Map",
    "Model",
    "Program",
    "StoredArray",
    "append_record",
    "atomic",
    "file_size",
    "find_images",
    "find_map",
    "is_alive",
    "is_map",
    "is_model",
    "legible",
    "make_folder",
    "put_in_place",
    "read_assembly",
    "read_images",
    "read_json",
    "read_map",
    "read_model",
    "read_records",
    "read_table",
    "read_toml",
    "read_weights",
    "recover",
    "remove_unfinished",
    "replaced_together",
    "require_trajectory",
    "select_atoms",
    "sensible_pixel_size",
    "write_cryodrgn",
    "write_cryosparc_particles",
    "write_cryosparc_volumes",
    "write_eman",
    "write_eman_list",
    "write_gif",
    "write_images",
    "write_json",
    "write_map",
    "write_mp4",
    "write_png",
    "write_pose_star",
    "write_reference_star",
    "write_table",
    "write_text",
    "write_weights",
]
