"""Pixtral's and Mistral 3's processor without torchvision.

`transformers` guards its own class with torchvision, which nothing in it needs for one image at a
time: image processor and tokenizer both have backends without. This one expands the prompt alike.
"""

from __future__ import annotations

from typing import Any


def pixtral_processor() -> Any:
    """The class, as `transformers.PixtralProcessor` is with torchvision."""
    from transformers import ProcessorMixin

    class PixtralProcessor(ProcessorMixin):  # type: ignore[misc]
        """`[IMG]` becomes one token per patch, with a break after each row and an end."""

        def __init__(
            self,
            image_processor: Any = None,
            tokenizer: Any = None,
            patch_size: int = 16,
            spatial_merge_size: int = 1,
            chat_template: str | None = None,
            image_token: str = "[IMG]",
            image_break_token: str = "[IMG_BREAK]",
            image_end_token: str = "[IMG_END]",
            **_: Any,
        ) -> None:
            super().__init__(image_processor, tokenizer, chat_template=chat_template)
            self.patch_size = patch_size
            self.spatial_merge_size = spatial_merge_size
            self.image_token = image_token
            self.image_break_token = image_break_token
            self.image_end_token = image_end_token
            self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
            self.image_break_token_id = tokenizer.convert_tokens_to_ids(image_break_token)
            self.image_end_token_id = tokenizer.convert_tokens_to_ids(image_end_token)

        def _process_images(self, images: Any, **options: Any) -> Any:
            options["patch_size"] = self.patch_size * self.spatial_merge_size
            return super()._process_images(images, **options)

        def replace_image_token(self, image_inputs: Any, image_idx: int, **_: Any) -> str:
            cell = self.patch_size * self.spatial_merge_size
            rows, cols = (int(n) // cell for n in image_inputs["image_sizes"][image_idx])
            row = self.image_token * cols
            return self.image_break_token.join([row] * rows) + self.image_end_token

    return PixtralProcessor
