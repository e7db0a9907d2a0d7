"""Predictions: how they are made, marked and shown, and what a real kernel folds for them."""

import json
import re
import subprocess
import sys

import pytest
from kernel import kernel

from chatq.course.ballot import Ballot
from chatq.course.prediction import Mark, Prediction
from chatq.course.question import Question, Seen, question
from chatq.views.looks import LESSON, SHEET

WIDGET = "application/vnd.jupyter.widget-view+json"

WHO = Question(
    "03.x",
    "Who gets it?",
    {"ada": "you thought of lesson 01.", "bob": "", "cy": "", "nobody": "you thought of 01.a."},
    lambda seen: seen["got"],
    missed="It is for all others.",
)
OFTEN = Question(
    "03.y", "How often?", {"never": "no.", "once": ""}, lambda seen: seen["times"], one=True
)


def asked(about=WHO, **names):
    """Return a prediction in a notebook with these variables, and the variables."""
    return Prediction(about, Seen(names)), names


# -- making one, and its mark ----------------------------------------------------------------------


def test_a_prediction_is_marked_when_it_has_happened():
    guess, names = asked()
    guess.choose("cy", "bob")
    guess.look()
    assert (guess.chosen, guess.right, guess.mark) == (("bob", "cy"), None, None)
    assert repr(guess).endswith("You say: bob, cy. Now run the cells below.")
    names["got"] = {"cy", "bob", "the server"}
    guess.look()
    assert guess.mark == Mark(WHO, ("bob", "cy"), ("bob", "cy"))
    assert guess.mark.good
    assert repr(guess.mark) == "✓ You said so: bob, cy."
    names["got"] = {"ada"}  # a later cell changes nothing any more
    guess.look()
    assert guess.mark.good


def test_what_has_happened_is_not_told_before_a_prediction_is_made():
    guess, _ = asked(got={"bob"})
    guess.look()
    assert guess.right == ("bob",)
    assert guess.mark is None
    assert "It is" not in repr(guess) + guess.page()
    assert repr(guess.choose("bob").mark) == "✓ You said so: bob."


def test_a_wrong_choice_is_answered():
    guess, _ = asked(got={"bob", "cy"})
    guess.look()
    guess.choose("ada", "bob")
    assert not guess.mark.good
    assert repr(guess.mark) == (
        "✗ You said: ada, bob. It is: bob, cy.\n"
        "  ada: you thought of lesson 01.\n"
        "  It is for all others."
    )
    only_one = Mark(OFTEN, ("never",), ("once",))
    assert only_one.replies == ["No."]
    same = Question("03.z", "Who?", {"ada": "no.", "bob": "no.", "cy": ""}, lambda seen: "cy")
    assert Mark(same, ("ada", "bob", "cy"), ("cy",)).replies == ["ada, bob: no."]


def test_whoever_does_not_predict_is_shown_it():
    guess, names = asked()
    assert guess.open
    guess.show()
    assert repr(guess).endswith("Nothing is hidden any more. Run the cells below.")
    names["got"] = []
    guess.look()
    assert repr(guess.mark) == "It is: nobody. (You made no prediction.)"
    with pytest.raises(ValueError, match="run its cell again"):
        guess.choose("ada")


def test_a_prediction_takes_only_its_choices():
    for about, given, why in (
        (WHO, ["dan"], "no 'dan' to choose, only ada, bob, cy"),
        (WHO, [], "at least one of ada, bob"),
        (OFTEN, [], "exactly one of never, once"),
        (OFTEN, ["never", "once"], "exactly one of never, once"),
    ):
        guess, _ = asked(about)
        with pytest.raises(ValueError, match=why):
            guess.choose(*given)
        assert guess.open


def test_cells_that_the_reader_has_changed_say_nothing():
    for got in (7, None):
        guess, _ = asked(got=got)
        guess.look()
        assert guess.right is None
    guess, _ = asked(OFTEN, times="thrice")
    guess.look()
    assert guess.right is None


def test_a_question_is_found_by_its_name():
    assert question("03.a").text == "Who gets what Ada says?"
    with pytest.raises(LookupError, match=r"no prediction '03\.z'; there are 03\.a, 03\.b"):
        question("03.z")
    with pytest.raises(LookupError, match="no lesson '77'"):
        question("77.a")


async def test_only_what_has_happened_since_counts(stage, sio):
    (ada,) = await stage.clients("ada")
    ada.on("news", lambda text: None)
    await sio.emit("news", "before")
    await stage.settle()
    seen = Seen({"stage": stage})
    with pytest.raises(LookupError, match="nothing called news has been emitted since"):
        seen.who_got("news")
    await sio.emit("news", "after", skip_sid=ada.get_sid())
    await stage.settle()
    assert seen.who_got("news") == set()
    assert Seen({}).printed == ""
    names = {}
    seen = Seen(names)
    names["stage"] = stage  # opened after the question: all of it counts
    assert len(seen.messages("news")) == 2


# -- as it is shown --------------------------------------------------------------------------------


def test_as_a_text_and_as_a_page_it_shows_no_answer():
    guess, _ = asked(got={"bob"})
    guess.look()
    shown = guess._repr_mimebundle_()
    assert shown["text/plain"] == repr(guess)
    assert repr(guess).splitlines()[:2] == [
        "Who gets it?",
        "[ ] ada   [ ] bob   [ ] cy   [ ] nobody",
    ]
    assert "☐ bob" in shown["text/html"]
    guess, _ = asked(OFTEN)
    assert repr(guess) == (
        'How often?\n( ) never   ( ) once\n(choose one, or add .choose("never") to the line; '
        ".show() if you would rather be told)"
    )


def widgets(about=WHO, **names):
    guess, names = asked(about, **names)
    box = Ballot(guess).box
    _, *boxes, buttons, said, fold = box.children
    return guess, names, boxes, buttons.children, said, fold


def test_a_lesson_of_predictions_alone_is_shown_whole_in_a_narrow_window():
    guess, _ = asked(WHO)
    box = Ballot(guess).box
    assert LESSON in box.children[0].value
    assert LESSON in SHEET
    classes = set(re.findall(r"\.(chatq-?\w*)", LESSON))
    assert classes == {"chatq", *box._dom_classes}


def test_ticking_the_boxes_is_a_prediction_once_it_is_said_so():
    guess, names, boxes, (made, show), said, fold = widgets()
    made.click()
    assert '<div role="status">choose at least one' in said.value
    boxes[0].value = boxes[1].value = True
    assert guess.open
    made.click()
    assert guess.chosen == ("ada", "bob")
    assert "Now run the cells below" in said.value
    assert [box.disabled for box in boxes] == [True] * 4
    assert (made.disabled, show.disabled, fold.value) == (True, False, "")
    names["got"] = {"bob"}
    guess.look()
    assert "✗ You said: ada, bob. It is: bob.<ul><li>ada: you thought" in said.value
    assert "details.chatq-03-x::details-content" in fold.value


def test_one_of_several_is_chosen_by_radio_buttons():
    guess, _, (buttons,), (made, _), said, _ = widgets(OFTEN, times="once")
    assert (buttons.options, buttons.value) == (("never", "once"), None)
    guess.look()
    buttons.value = "once"
    made.click()
    assert guess.mark.good
    assert "✓" in said.value
    assert buttons.disabled


def test_show_me_opens_what_is_folded():
    guess, names, _, (made, show), said, fold = widgets()
    show.click()
    assert "chatq-03-x" in fold.value
    assert (made.disabled, show.disabled) == (True, True)
    names["got"] = {"cy"}
    guess.look()
    assert "It is: cy." in said.value


def test_whoever_has_predicted_can_still_be_shown_it():
    """Then the scene need not be played: its cells may say something else by now."""
    guess, _, _, (_, show), _, fold = widgets()
    guess.choose("ada")
    show.click()
    assert "chatq-03-x" in fold.value
    assert guess.chosen == ("ada",)


def test_it_works_without_widgets():
    program = """
import sys
sys.modules["ipywidgets"] = None
from chatq import predict
shown = predict("03.a")._repr_mimebundle_()
print(sorted(shown))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "['text/html', 'text/plain']\n", done.stderr


# -- in a kernel -----------------------------------------------------------------------------------

BEGIN = """
import socketio
from chatq import Stage, predict

sio = socketio.AsyncServer(async_mode="aiohttp")
stage = await Stage.open(sio)
ada, bob = await stage.clients("ada", "bob")
for client in (ada, bob):
    client.on("news", lambda text: None)
"""
SCENE = """
print("it is said")
await sio.emit("news", "hello", skip_sid=ada.get_sid())
await stage.settle()
stage.deliveries()
"""


def pages(runs, index):
    return [out.get("data", {}).get("text/html", "") for out in runs.nb.cells[index].outputs]


async def test_what_follows_is_folded_until_a_prediction_is_made():
    cells = [BEGIN, 'predict("03.a")', SCENE, "stage.why('ada', 'news')", "'not folded'"]
    async with kernel(*cells, 'predict("03.a").choose("ada")', "stage.diagram()") as runs:
        await runs.run(0)
        shown = await runs.run(1)
        assert "[ ] ada   [ ] bob   [ ] cy   [ ] dan   [ ] nobody" in shown
        for _ in range(2):  # the scene may be run again
            shown = await runs.run(2)
            assert "it is said" in shown
            assert [page.startswith('<details class="chatq-03-a">') for page in pages(runs, 2)] == [
                True,
                True,
            ]
            json.dumps(runs.nb.cells[2].outputs)
        await runs.run(3)
        assert pages(runs, 3)[0].startswith('<details class="chatq-03-a">')
        await runs.run(4)
        assert pages(runs, 4) == [""]
        await runs.run(5)
        shown = await runs.run(2)
        assert "✗ You said: ada. It is: bob." in shown
        assert any("ada: you may have thought" in line for line in shown)
        assert not any("<details" in page for page in pages(runs, 2))
        assert runs.nb.cells[2].outputs[0].output_type == "stream"


async def test_a_picture_is_folded_too_and_what_goes_wrong_is_not():
    cells = [BEGIN, 'predict("03.a")', "stage.diagram()", "print('so far')\n1 / 0", "print('on')"]
    async with kernel(*cells) as runs:
        for index in range(3):
            await runs.run(index)
        (page,) = pages(runs, 2)
        assert "<details" in page
        assert "<img" in page
        runs.allow_errors = True
        await runs.async_execute_cell(runs.nb.cells[3], 3)
        kinds = {out.output_type for out in runs.nb.cells[3].outputs}
        assert kinds == {"error", "display_data"}
        assert await runs.run(4) == ["on"]


async def test_a_teacher_shows_everything():
    cells = ["%env CHATQ_PREDICTIONS=open", BEGIN, 'predict("03.a")', SCENE]
    async with kernel(*cells, "print(predict.__globals__['_asked'].newest.mark)") as runs:
        for index in range(4):
            await runs.run(index)
        assert not any("<details" in page for page in pages(runs, 3))
        assert await runs.run(4) == ["It is: bob. (You made no prediction.)"]
