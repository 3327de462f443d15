"""A token is named by position, by text or by its number in the answer; nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.choice import find_token, read
from var_studio.errors import VarStudioError
from var_studio.recording.recording import Recording


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The question is " left of the red cup?", the answer begins "theblue square is left of"."""
    folder = tmp_path_factory.mktemp("choice")
    return make_run(folder / "a", layers=2, heads=2, rows=3, cols=3, queries=20)


def texts(run: Recording, word: str) -> list[int]:
    return [t.position for t in run.tokens if t.text.strip() == word]


def test_a_word_of_the_answer_goes_before_the_same_word_of_the_question(run: Recording) -> None:
    asked, said = texts(run, "left")
    assert asked < said == find_token(run, "left") == find_token(run, " left ")
    assert find_token(run, ("left", 0)) == said
    assert find_token(run, ("left", 1)) == asked
    only_asked = texts(run, "What")
    assert [find_token(run, "What")] == only_asked
    assert read(run, token="left").position == said


def test_numbers_are_positions_and_g_counts_the_answer(run: Recording) -> None:
    generated = run.generated_positions
    assert find_token(run, int(generated[2])) == find_token(run, np.int64(generated[2]))
    assert find_token(run, "g2") == generated[2]
    assert find_token(run, "g-1") == generated[-1]
    with pytest.raises(VarStudioError, match=f"g0 to g{len(generated) - 1}"):
        find_token(run, f"g{len(generated)}")


def test_a_word_that_comes_twice_is_never_chosen_silently(run: Recording) -> None:
    first, second = (p for p in texts(run, "the") if p in run.generated_positions)
    with pytest.raises(VarStudioError) as error:
        find_token(run, "the")
    assert "2 tokens are “the”" in str(error.value)
    assert f"{first} “the” (generated), {second} “the”" in str(error.value)
    assert find_token(run, ("the", 1)) == second
    with pytest.raises(VarStudioError, match="number 7"):
        find_token(run, ("the", 7))


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("sqaure", "They are .*“square”"),
        ("The", "They are .*“the”"),
        ("blue square", "several tokens"),
        ("zzzz", "last ones are"),
        ("", "empty"),
        (9999, "There is no token 9999"),
        (-1, "It goes from 0"),
        (1.5, "not named by float"),
    ],
)
def test_what_is_not_there(run: Recording, token: object, said: str) -> None:
    with pytest.raises(VarStudioError, match=said):
        find_token(run, token)  # type: ignore[arg-type]
