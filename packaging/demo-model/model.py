"""The demo model: a small genuine LLaVA, and a forward pass of it made for training on a CPU.

`TrainingForward` computes what `LlavaForConditionalGeneration` computes, with the same
parameters (`train.py check` compares the two). It exists because the losses need every layer's
input and attention weights, and questions packed side by side need their own mask and positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from conversation import (
    BOS,
    EOS,
    IMAGE,
    IMAGE_START,
    NEWLINE_POSITION,
    PAD,
    VOCABULARY_SIZE,
)
from scenes import IMAGE_SIZE, PATCH_SIZE, PATCHES_PER_SIDE, VISUAL_TOKENS
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

LAYERS, HEADS, WIDTH, FEED_FORWARD = 6, 6, 192, 576
VISION_LAYERS, VISION_HEADS, VISION_WIDTH, VISION_FEED_FORWARD = 3, 4, 128, 384
HEAD_WIDTH = WIDTH // HEADS
ROPE_THETA = 10_000.0
VISUAL = slice(IMAGE_START, NEWLINE_POSITION)


def configuration() -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=VISION_FEED_FORWARD,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=VISION_HEADS,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=VISION_WIDTH,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=IMAGE,
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=VISUAL_TOKENS,
        tie_word_embeddings=False,
    )


def new_model() -> LlavaForConditionalGeneration:
    """A model with initial weights scaled to its width.

    The library's fixed 0.02 is too small for 192 dimensions: attention stays uniform.
    """
    model = LlavaForConditionalGeneration(configuration())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "vision_tower" in name or weight.ndim != 2:
                continue
            if "embed_tokens" in name:
                weight.normal_(0, 0.3)
                continue
            weight.normal_(0, weight.shape[1] ** -0.5)
            if "o_proj" in name or "down_proj" in name:
                weight.mul_((2 * LAYERS) ** -0.5)
            if "lm_head" in name:
                weight.mul_(0.5)
    return model


@dataclass
class Trace:
    """What the losses read: inputs and attention weights of every decoder layer.

    hidden: L x (B, T, D); attention: L x (B, H, T, T); head_output: L x (B, T), the mean norm of
    the heads' outputs relative to the values'; projected: (B, VISUAL_TOKENS, D).
    """

    hidden: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    head_output: list[Tensor] = field(default_factory=list)
    projected: Tensor | None = None


class TrainingForward(nn.Module):
    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        frequency = ROPE_THETA ** (-torch.arange(0, HEAD_WIDTH, 2).float() / HEAD_WIDTH)
        angle = torch.arange(1024).float()[:, None] * frequency
        angle = torch.cat([angle, angle], -1)
        self.compiled_decode = None
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    def see(self, pixels: Tensor) -> Tensor:
        """Vision tower: (B, 3, S, S) to (B, VISUAL_TOKENS, VISION_WIDTH)."""
        tower = self.model.model.vision_tower
        tower = getattr(tower, "vision_model", tower)
        batch, side = pixels.shape[0], PATCHES_PER_SIDE
        patches = pixels.view(batch, 3, side, PATCH_SIZE, side, PATCH_SIZE)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, VISUAL_TOKENS, -1)
        embedded = F.linear(patches, tower.embeddings.patch_embedding.weight.flatten(1))
        first = tower.embeddings.class_embedding.expand(batch, 1, -1)
        x = torch.cat([first, embedded], 1) + tower.embeddings.position_embedding.weight
        x = tower.pre_layrnorm(x)
        for layer in tower.encoder.layers:
            x = x + self._vision_attention(layer.self_attn, layer.layer_norm1(x))
            x = x + layer.mlp.fc2(F.gelu(layer.mlp.fc1(layer.layer_norm2(x))))
        return x[:, 1:]

    @staticmethod
    def _vision_attention(attention: nn.Module, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = (batch, length, VISION_HEADS, width // VISION_HEADS)
        query, key, value = (
            projection(x).view(split).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = (query * split[-1] ** -0.5) @ key.transpose(-1, -2)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        return attention.out_proj(mixed.transpose(1, 2).reshape(x.shape))

    def project(self, features: Tensor) -> Tensor:
        projector = self.model.model.multi_modal_projector
        return projector.linear_2(F.gelu(projector.linear_1(features)))

    def embed(self, ids: Tensor, projected: Tensor) -> Tensor:
        words = self.model.model.language_model.embed_tokens(ids)
        pieces = [words[:, : VISUAL.start], projected.to(words.dtype), words[:, VISUAL.stop :]]
        return torch.cat(pieces, 1)

    def compile(self) -> None:
        """Fuse the decoder's small operations; `plain=True` in a call goes without."""
        self.compiled_decode = torch.compile(self.decode, dynamic=False)

    def decode(self, x: Tensor, positions: Tensor, mask: Tensor) -> tuple[Tensor, Trace]:
        """Decoder: embeddings (B, T, D), positions (B, T), additive mask (B, 1, T, T)."""
        decoder = self.model.model.language_model
        trace = Trace()
        rotation = (self.cosine[positions][:, None], self.sine[positions][:, None])
        for layer in decoder.layers:
            trace.hidden.append(x)
            normed = rms_norm(x, layer.input_layernorm)
            x = x + self._attention(layer.self_attn, normed, rotation, mask, trace)
            h = rms_norm(x, layer.post_attention_layernorm)
            x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(h)) * layer.mlp.up_proj(h))
        return rms_norm(x, decoder.norm), trace

    @staticmethod
    def _attention(attention, x, rotation, mask, trace) -> Tensor:
        batch, length, width = x.shape
        split = (batch, length, HEADS, HEAD_WIDTH)
        query, key, value = (
            projection(x).view(split).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query = rotate(query, *rotation).to(value.dtype) * HEAD_WIDTH**-0.5
        key = rotate(key, *rotation).to(value.dtype)
        scores = query @ key.transpose(-1, -2) + mask.to(query.dtype)
        weights = scores.softmax(-1).to(value.dtype)
        mixed = weights @ value
        trace.attention.append(weights)
        written = (mixed.float().pow(2).sum(-1) + 1e-6).sqrt().mean(1)
        trace.head_output.append(written / value.detach().float().norm(dim=-1).mean())
        return attention.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))

    def forward(self, ids, pixels, positions, mask, *, plain: bool = False):
        """Final hidden states (B, T, D) and the trace; `logits` turns chosen ones into words."""
        projected = self.project(self.see(pixels))
        decode = self.decode if plain or self.compiled_decode is None else self.compiled_decode
        hidden, trace = decode(self.embed(ids, projected), positions, mask)
        trace.projected = projected
        return hidden, trace

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden).float()


def rms_norm(x: Tensor, norm: nn.Module) -> Tensor:
    y = x.float()
    return y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6) * norm.weight


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cosine + torch.cat([-right, left], -1) * sine
