"""What the paper printed: tables 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .figures import Column, Figure, TableRow

__all__ = ["TABLE1", "TABLE2", "TABLE3", "columns"]

_NAMES = {
    "ssim_gt": Column(key="ssim_gt", title="SSIM GT", digits=3),
    "psnr_gt": Column(key="psnr_gt", title="PSNR GT", digits=2),
    "ssim_source": Column(key="ssim_source", title="SSIM Source", digits=3),
    "ciede2000": Column(key="ciede2000", title="CIEDE2000", digits=2),
    "fps": Column(key="fps", title="FPS", digits=1, rate=True),
    "fps_io": Column(key="fps_io", title="FPS with I/O", digits=1, rate=True),
    "recall": Column(key="recall", title="Recall", digits=3),
    "precision": Column(key="precision", title="Precision", digits=3),
    "accuracy": Column(key="accuracy", title="Accuracy", digits=3),
    "f1": Column(key="f1", title="F1 score", digits=3),
}


def columns(*keys: str) -> list[Column]:
    """Columns by their keys."""
    return [_NAMES[key] for key in keys]


def _rows(keys: Sequence[str], label: Sequence[str], rows: Mapping[tuple[str, ...], Sequence[float]]) -> list[TableRow]:
    return [
        TableRow(
            labels=dict(zip(label, names, strict=True)),
            figures={key: Figure(value=value) for key, value in zip(keys, values, strict=True)},
        )
        for names, values in rows.items()
    ]


TABLE1 = _rows(
    ("ssim_gt", "psnr_gt", "ssim_source", "fps"),
    ("method",),
    {
        ("Reinhard",): (0.779, 27.6, 0.955, 54.8),
        ("Macenko",): (0.771, 25.9, 0.919, 4.0),
        ("Vahadane",): (0.776, 26.0, 0.927, 0.5),
        ("StainGAN",): (0.758, 29.4, 0.913, 19.6),
        ("StainNet",): (0.808, 29.8, 0.960, 881.8),
    },
)
"""966 registered Pap pairs of 512x512, which are not public; a GTX 1080Ti and a 6-core i7-6850K, without I/O."""

TABLE2 = _rows(
    ("ssim_gt", "psnr_gt", "ssim_source"),
    ("conv3x3",),
    {
        ("0",): (0.808, 29.8, 0.960),
        ("1",): (0.814, 30.0, 0.958),
        ("2",): (0.814, 30.0, 0.956),
        ("3",): (0.804, 29.8, 0.950),
    },
)

TABLE3 = _rows(
    ("recall", "precision", "accuracy", "f1"),
    ("experiment", "images"),
    {
        ("E1", "original"): (0.767, 0.874, 0.824, 0.817),
        ("E1", "StainGAN"): (0.919, 0.910, 0.912, 0.914),
        ("E1", "StainNet"): (0.773, 0.923, 0.851, 0.841),
        ("E2", "original"): (0.859, 0.918, 0.888, 0.887),
        ("E2", "StainGAN"): (0.957, 0.893, 0.919, 0.923),
        ("E2", "StainNet"): (0.955, 0.902, 0.924, 0.928),
        ("E3", "original"): (0.911, 0.917, 0.912, 0.914),
        ("E3", "StainGAN"): (0.958, 0.900, 0.924, 0.928),
        ("E3", "StainNet"): (0.961, 0.909, 0.931, 0.934),
    },
)
"""A ResNet50 pretrained on ImageNet, 13,178 training and 6,535 test patches, the best epoch by F1 on the latter."""
