"""Pictures: what is drawn, that colours follow the rows, and that a file is written whole or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vec2vec.errors import DimensionError, InputError, OutputError
from vec2vec.evaluate import figures
from vec2vec.evaluate.figures import calibration_figure, project, save_figure, spaces_figure

ROWS = 120


@pytest.fixture(scope="module")
def spaces() -> dict[str, Any]:
    """Three domains; two encoders, each a rotation of the same latent, of other widths and one with a mean."""
    rng = np.random.default_rng(0)
    domains = rng.integers(0, 3, ROWS)
    latent = 4 * np.eye(3, 6)[domains] + rng.standard_normal((ROWS, 6))
    a, b = (np.linalg.qr(rng.standard_normal((8, 8)))[0][:6] for _ in range(2))
    source, target = latent @ a + 20 * np.eye(8)[7], (latent @ b)[:, :7]
    noise = 0.01 * rng.standard_normal((2, ROWS, 6))
    return {
        "source": source,
        "target": target,
        "latent_source": latent + noise[0],
        "latent_target": latent + noise[1],
        "domains": domains,
    }


def points(ax: Axes) -> np.ndarray:
    return np.asarray(ax.collections[0].get_offsets())


def colours(ax: Axes) -> np.ndarray:
    return np.array([to_hex(colour).upper() for colour in ax.collections[0].get_facecolor()])


def apart(ax: Axes) -> float:
    """Distance of the two encoders' centres, in units of the spread around them."""
    where, colour = points(ax), colours(ax)
    groups = [where[colour == name] for name in np.unique(colour)]
    assert len(groups) == 2
    spread = np.mean([group.std(axis=0).max() for group in groups])
    return float(np.linalg.norm(groups[0].mean(axis=0) - groups[1].mean(axis=0)) / spread)


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def texts(fig: Figure) -> str:
    return "\n".join(text.get_text() for text in [*fig.texts, *(t for ax in fig.axes for t in ax.texts)])


# --- spaces ---


def test_apart_as_they_are_and_mixed_in_the_latent(spaces: dict[str, Any]) -> None:
    fig = spaces_figure(**spaces, source_name="A", target_name="B", projection="pca", title="Two spaces")
    by_encoder, by_domain = fig.axes[:2], fig.axes[2:]
    assert apart(by_encoder[0]) > 3
    assert apart(by_encoder[1]) < 1
    assert legend(by_encoder[1]) == ["A (8)", "B (7)"]
    assert legend(by_domain[1]) == ["0", "1", "2"]
    for upper, lower in zip(by_encoder, by_domain, strict=True):  # one projection for each column
        np.testing.assert_array_equal(points(upper), points(lower))
    written = texts(fig)
    assert "Two spaces" in written
    assert "other encoder: 0%" in written
    assert "60 vectors of each encoder" in written
    assert "zero-padded to 8 dimensions" in written
    assert "PCA" in written


def test_colours_follow_the_rows(spaces: dict[str, Any]) -> None:
    """In the latent the domains are far apart, so each domain's points must lie around one place."""
    ax = spaces_figure(**spaces, projection="pca").axes[3]
    where, colour = points(ax), colours(ax)
    centres = np.stack([where[colour == name].mean(axis=0) for name in np.unique(colour)])
    nearest = np.linalg.norm(where[:, None] - centres, axis=2).argmin(axis=1)
    assert np.mean(np.unique(colour)[nearest] == colour) > 0.95


def test_no_row_is_drawn_on_both_sides() -> None:
    left, right = figures._sample(101, 101, 1000, seed=0)
    assert not set(left) & set(right)
    assert len(left) + len(right) == 101
    left, right = figures._sample(30, 50, 40, seed=0)
    assert (len(set(left)), len(set(right))) == (30, 40)


def test_without_domains_and_with_other_numbers_of_rows(spaces: dict[str, Any]) -> None:
    some = {name: x if "source" in name else x[:50] for name, x in spaces.items() if name != "domains"}
    fig = spaces_figure(**some, projection="pca", max_points=70)
    assert len(fig.axes) == 2
    assert "70 and 50 vectors" in texts(fig)
    assert len(points(fig.axes[0])) == 120
    labels = (spaces["domains"], spaces["domains"][:50])
    assert len(spaces_figure(**some, domains=labels, projection="pca").axes) == 4


def test_domain_names_and_rare_domains(spaces: dict[str, Any]) -> None:
    named = spaces_figure(**spaces, domain_names=["news", "mail", "law"], projection="pca")
    assert legend(named.axes[3]) == ["news", "mail", "law"]
    many = np.concatenate([np.repeat(np.arange(9), 12), np.arange(9, 21)])
    group = figures._by_domain(many, None)
    assert [name for name, _ in group.legend] == [*map(str, range(9)), "12 others"]
    assert len(set(group.colours)) == 10
    assert set(group.colours[many >= 9]) == {group.legend[-1][1]}


def test_tsne_is_decided_by_the_seed(spaces: dict[str, Any]) -> None:
    one, again, other = (spaces_figure(**spaces, max_points=25, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(points(one.axes[1]), points(again.axes[1]))
    assert not np.array_equal(points(one.axes[1]), points(other.axes[1]))
    assert "t-SNE" in texts(one)


def test_share_of_neighbours_from_the_other_encoder() -> None:
    x = np.random.default_rng(0).standard_normal((2000, 3)).astype(np.float32)
    assert figures._other_encoder_nearest(x, 1000) == pytest.approx(0.5, abs=0.07)
    x[:1000] += 50
    assert figures._other_encoder_nearest(x, 1000) == 0
    assert figures._other_encoder_nearest(np.concatenate([x, x + 1e-4]), 2000) == 1


def test_spaces_bad_input(spaces: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="120 rows, one per vector"):
        spaces_figure(**{**spaces, "latent_source": spaces["latent_source"][:5]})
    with pytest.raises(DimensionError, match="6 wide and that of target 5"):
        spaces_figure(**{**spaces, "latent_target": spaces["latent_target"][:, :5]})
    with pytest.raises(InputError, match="120 and 120 labels"):
        spaces_figure(**{**spaces, "domains": spaces["domains"][:7]})
    with pytest.raises(InputError, match="indices into 2 names: found 0 to 2"):
        spaces_figure(**spaces, domain_names=["a", "b"])
    with pytest.raises(InputError, match="'tsne' or 'pca'"):
        spaces_figure(**spaces, projection="umap")
    with pytest.raises(InputError, match="at least 10"):
        spaces_figure(**spaces, max_points=3)
    with pytest.raises(InputError, match="latent of target is not finite"):
        spaces_figure(**{**spaces, "latent_target": np.full((ROWS, 6), np.inf)})


# --- calibration ---


def test_calibration() -> None:
    scores, truths = [0.8, 0.7, 0.01, 0.2], [0.82, 0.75, 0.0, 0.1]
    kinds, labels = ["real", "real", "noise", "overlap"], ["aligned", "aligned", "not aligned", "uncertain"]
    intervals = [[0.7, 0.9], [0.6, 0.8], [0.0, 0.03], [0.1, 0.3]]
    fig = calibration_figure(scores, truths, kinds, intervals=intervals, labels=labels, title="Calibration")
    ax = fig.axes[0]
    assert legend(ax) == ["real (2)", "noise (1)", "overlap (1)", "hollow: uncertain"]
    drawn = [c for c in ax.collections if len(c.get_offsets()) and c.get_facecolor().size]
    found = np.concatenate([np.asarray(c.get_offsets()) for c in drawn])
    np.testing.assert_allclose(found, np.stack([truths, scores], axis=1))
    assert to_hex(drawn[2].get_facecolor()[0]) == "#ffffff"
    assert to_hex(drawn[0].get_facecolor()[0]) != "#ffffff"
    assert {"aligned", "uncertain", "not aligned"} <= set(texts(fig).split("\n"))
    segments = [segment for c in ax.collections if hasattr(c, "get_segments") for segment in c.get_segments()]
    np.testing.assert_allclose([segment[:, 1] for segment in segments], intervals)


def test_calibration_bad_input() -> None:
    with pytest.raises(InputError, match="found shapes"):
        calibration_figure([0.5], [0.5, 0.6], ["a"])
    with pytest.raises(InputError, match="at least one score"):
        calibration_figure([], [], [])
    with pytest.raises(InputError, match=r"found 1\.5 to 1\.5"):
        calibration_figure([1.5], [0.5], ["a"])
    with pytest.raises(InputError, match="truths should be shares"):
        calibration_figure([0.5], [np.nan], ["a"])


# --- files ---


@pytest.fixture
def figure() -> Figure:
    return calibration_figure([0.5], [0.5], ["a"])


def test_save(figure: Figure, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    assert save_figure(figure, path) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [found.name for found in tmp_path.iterdir()] == ["picture.png"]
    with pytest.raises(OutputError, match="exists"):
        save_figure(figure, path)
    path.write_bytes(b"old")
    save_figure(figure, path, force=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    figure: Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: Any, **_: Any) -> None:
        stream.write(b"\x89PNG half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_figure(figure, path, force=True)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_interrupted_saving_leaves_nothing(figure: Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_figure(figure, tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_save_bad_paths(figure: Figure, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"written as \.png"):
        save_figure(figure, tmp_path / "picture.pdf")
    with pytest.raises(OutputError, match="does not exist"):
        save_figure(figure, tmp_path / "nowhere" / "picture.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_figure_goes_where_a_link_points_and_keeps_its_permissions(figure: Figure, tmp_path: Path) -> None:
    old, link = tmp_path / "old.png", tmp_path / "link.png"
    old.touch(0o600)
    link.symlink_to(old)
    save_figure(figure, link, force=True)
    assert link.is_symlink()
    assert old.stat().st_mode & 0o777 == 0o600
    assert old.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_spaces_of_one_dimension(projection: Any) -> None:
    x = np.random.default_rng(0).standard_normal((40, 1))
    assert project(x, projection, 0).shape == (40, 2)


def test_no_plotting_at_import_and_no_pyplot_ever() -> None:
    code = (
        "import sys\n"
        "from vec2vec.evaluate import figures as f\n"
        "assert 'matplotlib' not in sys.modules and 'sklearn' not in sys.modules and 'torch' not in sys.modules\n"
        "f.calibration_figure([0.5], [0.5], ['a'])\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path), "PATH": ""})


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_row_without_a_domain_is_refused(spaces: dict[str, Any], missing: float | None) -> None:
    labels: list[Any] = [*(f"d{i}" for i in spaces["domains"][:-1]), missing]
    with pytest.raises(InputError, match=r"row 119 has the label (None|nan): give every row one"):
        spaces_figure(**spaces | {"domains": np.array(labels, object)})


def test_a_name_is_no_formula(spaces: dict[str, Any], tmp_path: Path) -> None:
    named = {"source_name": r"$\no$ such command", "title": "$5 or $6_$"}
    save_figure(spaces_figure(**spaces, **named, projection="pca"), tmp_path / "a.png")
    save_figure(calibration_figure([0.5], [0.5], [r"$\no$"], title="$5 or $6_$"), tmp_path / "b.png")
