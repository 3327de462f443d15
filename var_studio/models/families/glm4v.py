"""GLM-4V: GLM-4.1V (`Glm4vFor...`), 4.5V (`Glm4vMoeFor...`), 4.6V (`Glm46VFor...`).

Pictures and cells are as Qwen-VL's. The vision part puts two by two patches together with a
convolution, in the same raster order.
"""

from __future__ import annotations

from typing import Any

from var_studio.models.families.qwen_vl import QwenVL


class Glm4v(QwenVL):
    """As Qwen-VL; other marks, another chat format."""

    name = "glm4v"
    model_types = ("glm4v", "glm4v_moe", "glm46v")
    fallback_start = "[gMASK]<sop>"
    fallback_image = "<|begin_of_image|>{image}<|end_of_image|>"
    fallback = "<|user|>\n{images}{prompt}<|assistant|>\n"
    fallback_answer = "{answer}"

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """The marks before and after each image."""
        config = hf_model.config
        return frozenset({int(config.image_start_token_id), int(config.image_end_token_id)})
