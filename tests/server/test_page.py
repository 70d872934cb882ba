"""The chat page that `outboard serve` shows, in a browser. Against a fake server with set answers, or,
where OUTBOARD_PAGE names the address of a real one, against that: tests that need a set answer are skipped."""
import json
import os
import re
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from conftest import OTHER_NAME

REAL = os.environ.get("OUTBOARD_PAGE")
needs_set_answers = pytest.mark.skipif(bool(REAL), reason="needs answers that only the fake server gives")


@pytest.fixture
def url(fake):
    return REAL or fake.url


@pytest.fixture
def page(context, url):
    return visit(context, url)


def visit(context, url):
    """The page in a new tab, ready to be used. Errors of its scripts fail the test."""
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda message: page.wrong.append(message.text) if "Content Security" in message.text else None)
    if REAL:
        # A model may have much to say to each of these questions.
        page.add_init_script("""try {
          if (!localStorage.getItem('outboard.settings')) localStorage.setItem('outboard.settings', '{"max_tokens": "48"}');
        } catch { /* forbidden, as one test wants it */ }""")
    page.goto(url)
    expect(page.locator("#model option")).not_to_have_count(0)
    return page


@pytest.fixture(autouse=True)
def no_errors(context):
    yield
    for page in context.pages:
        assert getattr(page, "wrong", []) == []


def send(page, text):
    page.locator("#input").fill(text)
    page.locator("#input").press("Enter")


def finished(page, answers):
    """Waits until that many answers are there, the last of them whole."""
    expect(page.locator(".assistant")).to_have_count(answers, timeout=120_000)
    expect(page.locator("#stop")).to_be_hidden(timeout=120_000)


def ask(page, text):
    """Sends a message and waits for the whole answer; its text."""
    answers = page.locator(".assistant").count()
    send(page, text)
    finished(page, answers + 1)
    return last(page).locator(".body").inner_text()


def last(page):
    return page.locator(".assistant").last


def titles(page):
    return page.locator("#list a").all_inner_texts()


# ---- Conversations


def test_a_conversation(page, fake):
    assert ask(page, "Hello there.").strip()
    expect(page.locator("#list a")).to_have_text(["Hello there."])
    expect(page.locator("#title")).to_have_text("Hello there.")
    expect(last(page).locator(".stats")).to_have_text(re.compile(r"^\d+ tokens · \d+\.\d tokens/s$"))
    expect(page.locator("#status")).to_have_text(re.compile(r".+ · context \d+ of \d+$"))
    assert ask(page, "And again?").strip()
    expect(page.locator(".user .body")).to_have_text(["Hello there.", "And again?"])
    if not REAL:
        assert last(page).locator(".body").inner_text() == "You said: And again?"
        expect(page.locator("#status")).to_contain_text("CPU, 2 threads, avx512")
        assert fake.requests[-1]["messages"] == [
            {"role": "user", "content": "Hello there."}, {"role": "assistant", "content": "You said: Hello there."},
            {"role": "user", "content": "And again?"}]
        assert fake.requests[-1]["stream"] and fake.requests[-1]["stream_options"] == {"include_usage": True}
        # What nobody set, the server chooses.
        assert set(fake.requests[-1]) == {"model", "messages", "stream", "stream_options"}


def test_reload_keeps_everything(page):
    answer = ask(page, "Keep this.")
    page.reload()
    expect(page.locator(".user .body")).to_have_text("Keep this.")
    assert last(page).locator(".body").inner_text() == answer
    expect(last(page).locator(".stats")).to_contain_text("tokens/s")


def test_several_conversations(page):
    ask(page, "First one")
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator("#messages")).to_be_empty()
    ask(page, "Second one")
    assert titles(page) == ["Second one", "First one"]
    page.get_by_role("link", name="First one").click()
    expect(page.locator(".user .body")).to_have_text("First one")
    page.go_back()
    expect(page.locator(".user .body")).to_have_text("Second one")


@needs_set_answers
def test_answers_go_on_in_the_background(page):
    send(page, "slow answer")
    expect(last(page).locator(".body")).to_contain_text("word word")
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator("#send")).to_be_visible()
    assert ask(page, "Meanwhile") == "You said: Meanwhile"
    page.get_by_role("link", name="slow answer").click()
    expect(page.locator("#stop")).to_be_visible()
    before = len(last(page).locator(".body").inner_text())
    expect(last(page).locator(".body")).to_have_text(re.compile(".{%d,}" % (before + 40)))
    page.get_by_role("button", name="Stop").click()


def test_rename_export_delete(page):
    answer = ask(page, "To be renamed")
    menu = page.locator("#menu summary")
    menu.click()
    page.get_by_role("button", name="Rename").click()
    page.locator("#ask-input").fill("A better: name")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("A better: name")
    assert titles(page) == ["A better: name"]

    menu.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as Markdown").click()
    assert download.value.suggested_filename == "A better name.md"
    text = download.value.path().read_text()
    assert text.startswith("# A better: name\n\n## You\n\nTo be renamed\n\n## ")
    if not REAL:
        assert text.endswith(f"\n\n{answer}\n")

    menu.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as JSON").click()
    exported = json.loads(download.value.path().read_text())
    assert exported["title"] == "A better: name"
    assert [message["role"] for message in exported["messages"]] == ["user", "assistant"]
    assert exported["messages"][1]["parent"] == exported["messages"][0]["id"]

    menu.click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#ask").get_by_role("button", name="Cancel").click()
    assert titles(page) == ["A better: name"]
    menu.click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#ask").get_by_role("button", name="Delete").click()
    expect(page.locator("#list a")).to_have_count(0)
    expect(page.locator("#messages")).to_be_empty()
    page.reload()
    expect(page.locator("#model option")).not_to_have_count(0)
    expect(page.locator("#list a")).to_have_count(0)


# ---- Stop, edit, retry


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop(page, fake, how):
    send(page, "slow please, count from one to five hundred, in words")
    if REAL:
        expect(last(page).locator(".body")).not_to_be_empty(timeout=60_000)
    else:
        expect(last(page).locator(".body")).to_contain_text("word word")
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(last(page).locator(".trouble")).to_contain_text("Stopped.")
    expect(page.locator("#send")).to_be_visible()
    text = last(page).locator(".body").inner_text()
    assert text
    if not REAL:
        assert fake.hung_up.wait(5)  # the server can see it
    # What came is part of the conversation, and stays.
    page.reload()
    assert last(page).locator(".body").inner_text() == text
    expect(last(page).locator(".trouble")).to_contain_text("Stopped.")


def test_edit_and_versions(page, fake):
    ask(page, "What is one?")
    ask(page, "Thanks")
    first = page.locator(".user").first
    first.get_by_role("button", name="Edit").click()
    field = first.get_by_label("Edit the message")
    expect(field).to_be_focused()
    assert field.input_value() == "What is one?"
    field.fill("What is two?")
    field.press("Enter")
    finished(page, 1)
    expect(page.locator(".user .body")).to_have_text("What is two?")
    expect(first.locator(".place")).to_have_text("2/2")
    if not REAL:
        assert fake.requests[-1]["messages"] == [{"role": "user", "content": "What is two?"}]
    first.get_by_role("button", name="Previous version").click()
    expect(page.locator(".user .body")).to_have_text(["What is one?", "Thanks"])
    expect(first.get_by_role("button", name="Previous version")).to_be_focused()
    page.wait_for_timeout(300)  # a choice is written in two steps, and nothing tells when
    page.reload()
    expect(page.locator(".user .body")).to_have_text(["What is one?", "Thanks"])
    page.locator(".user").first.get_by_role("button", name="Next version").click()
    expect(page.locator(".user .body")).to_have_text("What is two?")


def test_edit_can_be_cancelled(page):
    ask(page, "As it was")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit the message").fill("Otherwise")
    page.keyboard.press("Escape")
    expect(page.locator(".user .body")).to_have_text("As it was")
    expect(page.get_by_role("button", name="Edit")).to_be_focused()
    expect(page.locator(".place").first).to_be_hidden()


def test_retry(page, fake):
    ask(page, "Say something")
    last(page).get_by_role("button", name="Retry").click()
    expect(last(page).locator(".place")).to_have_text("2/2")
    finished(page, 1)
    assert last(page).locator(".body").inner_text().strip()
    last(page).get_by_role("button", name="Previous version").click()
    expect(last(page).locator(".place")).to_have_text("1/2")
    if not REAL:
        assert [message["role"] for message in fake.requests[-1]["messages"]] == ["user"]


# ---- Two tabs


def test_two_tabs(context, page, url):
    ask(page, "From the first tab")
    other = visit(context, url)
    assert titles(other) == ["From the first tab"]
    ask(other, "From the second tab")
    expect(page.locator("#list a")).to_have_text(["From the second tab", "From the first tab"])
    # Both write to one conversation, at the same time.
    other.get_by_role("link", name="From the first tab").click()
    expect(other.locator(".user .body")).to_have_text("From the first tab")
    send(page, "One")
    send(other, "Two")
    for tab, text in ((page, "One"), (other, "Two")):
        # What it wrote itself, after what the other had written if that came first.
        expect(tab.locator(".user .body", has_text=re.compile(f"^{text}$"))).to_be_visible()
        expect(tab.locator("#stop")).to_be_hidden(timeout=60_000)
    for tab in (page, other):
        tab.reload()
        expect(tab.locator("#list a")).to_have_count(2)
    kept = page.evaluate("""() => new Promise((resolve) => { indexedDB.open('outboard').onsuccess = ({target}) =>
      target.result.transaction('messages').objectStore('messages').getAll().onsuccess = (event) =>
        resolve(event.target.result.map(({content, role}) => [role, content])); })""")
    assert {text for role, text in kept if role == "user"} == {"From the first tab", "From the second tab", "One", "Two"}
    assert len(kept) == 8 and all(text for _, text in kept)


def test_what_one_tab_does_the_other_shows(context, page, url):
    ask(page, "Shared")
    other = visit(context, page.url)
    expect(other.locator(".user .body")).to_have_text("Shared")
    ask(page, "More")
    expect(other.locator(".user .body")).to_have_text(["Shared", "More"])
    expect(other.locator(".assistant")).to_have_count(2)
    expect(other.locator(".trouble:visible").filter(has_text="Not finished.")).to_have_count(0)
    page.locator("#menu summary").click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#ask").get_by_role("button", name="Delete").click()
    expect(other.locator("#notice")).to_contain_text("deleted in another tab")
    expect(other.locator("#messages")).to_be_empty()
    expect(other.locator("#list a")).to_have_count(0)


def test_the_focus_in_the_list_stays(context, page, url):
    ask(page, "Mine")
    other = visit(context, url)
    page.get_by_role("link", name="Mine").focus()
    ask(other, "Theirs")
    expect(page.locator("#list a")).to_have_text(["Theirs", "Mine"])
    expect(page.get_by_role("link", name="Mine")).to_be_focused()


@needs_set_answers
def test_a_reload_in_the_middle_of_an_answer(page):
    send(page, "slow answer")
    expect(last(page).locator(".body")).to_contain_text("word " * 20)
    page.reload()
    # It is written down each 0.7 seconds, which are 14 words.
    expect(last(page).locator(".body")).to_contain_text("word " * 5)
    expect(last(page).locator(".trouble")).to_contain_text("Not finished.")
    last(page).get_by_role("button", name="Try again").click()
    expect(last(page).locator(".place")).to_have_text("2/2")
    page.keyboard.press("Escape")


@needs_set_answers
def test_a_full_disk_is_told(page, fake):
    # Chromium remembers for a while how much room there is, so it is told before the first write.
    page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", {"origin": fake.url, "quotaSize": 300_000})
    ask(page, "This fits")
    fake.answers["Too"] = type(fake.answers["cut"])("It goes on.")
    assert ask(page, "Too much " + "x" * 2_000_000) == "It goes on."
    expect(page.locator("#notice")).to_contain_text("storage is full")
    # What is not kept is still here, also after a look at another conversation, and can be taken away.
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator(".user")).to_have_count(0)
    page.get_by_role("link", name="This fits").click()
    expect(page.locator(".user")).to_have_count(2)
    page.locator("#menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as Markdown").click()
    assert "Too much xxx" in download.value.path().read_text()


def test_a_browser_that_keeps_nothing(context, url):
    """Storage may be forbidden: the page works as long as it is open, and says so."""
    context.add_init_script("""indexedDB.open = () => { throw new DOMException('storage is forbidden', 'SecurityError'); };
      Storage.prototype.getItem = Storage.prototype.setItem = () => { throw new DOMException('forbidden', 'SecurityError'); };""")
    page = visit(context, url)
    expect(page.locator("#notice")).to_contain_text("The browser does not keep this.")
    expect(page.locator("#notice")).to_contain_text("storage is forbidden")
    ask(page, "Even so")
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator(".user")).to_have_count(0)
    page.get_by_role("link", name="Even so").click()
    expect(page.locator(".user .body")).to_have_text("Even so")
    page.get_by_role("button", name="Dark colours").click()
    expect(page.get_by_role("button", name="Light colours")).to_be_visible()


# ---- What goes wrong


@needs_set_answers
@pytest.mark.parametrize("question, body, trouble", [
    ("cut short", "Half of what I wanted to", "The connection ended in the middle of the answer"),
    ("break down", "It began well", "the card does not answer any more"),
    ("refuse it", "", "messages[0]: this prompt has 9000 tokens, the context has 8192"),
    ("length of it", "As far as it goes", "Cut off."),
])
def test_errors_are_told_in_the_servers_words(page, fake, question, body, trouble):
    assert ask(page, question) == body
    expect(last(page).locator(".trouble")).to_contain_text(trouble)
    fake.answers.clear()
    last(page).get_by_role("button", name=re.compile("Try again|Retry")).click()
    expect(last(page).locator(".body")).to_have_text(f"You said: {question}")
    expect(last(page).locator(".trouble")).to_be_hidden()
    # What had come is still there; what held nothing is not.
    expect(last(page).locator(".place")).to_have_text("2/2" if body else "1/1")


@needs_set_answers
def test_a_server_that_goes_away_and_comes_back(page, fake):
    ask(page, "Are you there?")
    page.context.set_offline(True)
    assert ask(page, "And now?") == ""
    expect(last(page).locator(".trouble")).to_contain_text("The server does not answer")
    expect(page.locator("#status")).to_have_text("The server does not answer.")
    page.context.set_offline(False)
    expect(page.locator("#status")).to_contain_text("CPU, 2 threads", timeout=10_000)
    last(page).get_by_role("button", name="Try again").click()
    expect(last(page).locator(".body")).to_have_text("You said: And now?")
    expect(page.locator(".assistant")).to_have_count(2)


@needs_set_answers
def test_a_server_without_models(context, fake):
    fake.models = []
    page = context.new_page()
    page.goto(fake.url)
    expect(page.locator("#notice")).to_contain_text("The server has no model.")
    fake.models = ["new"]
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#model option")).to_have_count(1)
    assert ask(page, "Hello") == "You said: Hello"
    assert fake.requests[-1]["model"] == "new"


@needs_set_answers
def test_an_api_key(context, fake):
    fake.key = "sesame"
    page = context.new_page()
    page.goto(fake.url)
    expect(page.locator("#notice")).to_contain_text("asks for an API key")
    page.get_by_role("button", name="Enter the API key").click()
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("sesame")
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#model option")).to_have_count(2)
    assert ask(page, "Open!") == "You said: Open!"


# ---- What is shown


@needs_set_answers
def test_markdown_and_copying(context, page):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "code please")
    answer = last(page)
    expect(answer.locator("table th")).to_have_text(["Input", "Steps", "Time"])
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator(".code-language")).to_have_text("cpp")
    expect(answer.locator(".code .word").first).to_have_text("template")
    expect(answer.locator("blockquote a").first).to_have_attribute("href", "https://example.com/a?b=c")
    answer.get_by_role("button", name="Copy code").click()
    code = page.evaluate("navigator.clipboard.readText()")
    assert code.startswith("// Greatest common divisor") and "\n\twhile (b != 0) {\n" in code
    answer.locator(".actions").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("Here is a **function** in `C++`")


@needs_set_answers
def test_from_another_machine(context, fake):
    """Over plain HTTP from elsewhere than localhost there is no clipboard and no randomUUID."""
    page = visit(context, fake.url.replace("127.0.0.1", OTHER_NAME))
    assert page.evaluate("[isSecureContext, typeof navigator.clipboard]") == [False, "undefined"]
    ask(page, "code please")
    last(page).get_by_role("button", name="Copy code").click()
    expect(page.locator("#announcer")).to_have_text("Copied.")
    page.locator("#input").focus()
    page.keyboard.press("Control+V")
    expect(page.locator("#input")).to_have_value(re.compile("^// Greatest common divisor"))


@needs_set_answers
def test_thinking_is_folded(page, fake):
    send(page, "think hard")
    expect(last(page).locator("summary")).to_have_text("Thinking …")
    expect(last(page).locator(".reasoning")).to_be_hidden()
    last(page).locator("summary").click()
    expect(last(page).locator(".reasoning")).to_contain_text("Six")
    finished(page, 1)
    expect(last(page).locator("summary")).to_have_text("Thinking")
    expect(last(page).locator(".reasoning li")).to_have_text(["six", "seven"])
    expect(last(page).locator(".body strong")).to_have_text("42")
    ask(page, "Thanks")
    assert fake.requests[-1]["messages"][1]["reasoning_content"] == "Six times seven.\n\n- six\n- seven\n"


@needs_set_answers
def test_hostile_answers_do_nothing(page, fake):
    from test_page_markdown import HOSTILE
    fake.answers["harm"] = type(fake.answers["cut"])(HOSTILE, reasoning=HOSTILE)
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    ask(page, "harm me <img src=x onerror=window.harmed=1>")
    last(page).locator("summary").click()
    expect(last(page).locator(".reasoning")).to_contain_text("<script>window.harmed = 1</script>")
    expect(page.locator("#title")).to_contain_text("<img")
    page.reload()
    expect(last(page).locator(".body")).to_contain_text("<script>window.harmed = 1</script>")
    assert page.evaluate("window.harmed") is None
    assert page.locator(":is(img, svg, iframe, style, input[autofocus]):visible").count() == 0
    assert [url for url in requested if not url.startswith(fake.url)] == []


@needs_set_answers
def test_a_long_answer_stays_smooth(page):
    """10,000 words: no task of the page may keep a person waiting, and the text is whole."""
    page.evaluate("""() => { window.tasks = []; window.begun = performance.now();
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({duration}) => duration)))
        .observe({type: 'longtask'}); }""")
    text = ask(page, "long answer, please")
    assert len(text.split()) > 9_900
    longest, total, wall = page.evaluate("""[Math.max(0, ...tasks), tasks.reduce((a, b) => a + b, 0),
      performance.now() - begun]""")
    print(f"longest task {longest:.0f} ms, tasks over 50 ms in all {total:.0f} of {wall:.0f} ms")
    assert longest < 400
    assert total < wall / 3
    # Read along to the end.
    assert page.evaluate("(() => { const s = document.getElementById('scroll'); "
                         "return s.scrollHeight - s.scrollTop - s.clientHeight; })()") < 50


@needs_set_answers
def test_who_reads_further_up_is_left_there(page):
    send(page, "slow answer")
    page.locator("#input").fill("code")
    expect(page.locator("#scroll")).to_have_js_property("scrollTop", 0)
    page.keyboard.press("Escape")
    ask(page, "code again")
    ask(page, "code again")
    send(page, "slow once more")
    expect(last(page).locator(".body")).to_contain_text("word")
    page.locator("#scroll").evaluate("(scroll) => { scroll.scrollTop = 100; }")
    expect(page.get_by_role("button", name="To the latest")).to_be_visible()
    before = len(last(page).locator(".body").inner_text())
    expect(last(page).locator(".body")).to_have_text(re.compile(".{%d,}" % (before + 100)))
    assert page.locator("#scroll").evaluate("(scroll) => scroll.scrollTop") == 100
    page.get_by_role("button", name="To the latest").click()
    expect(page.get_by_role("button", name="To the latest")).to_be_hidden()
    page.keyboard.press("Escape")


# ---- Settings


def test_settings_reach_the_server(page, fake):
    page.get_by_role("button", name="Settings").click()
    for label, value in {"System prompt": "Be brief.", "Temperature": "0.3", "Top p": "0.9", "Top k": "20", "Min p": "0.05",
                         "Most tokens": "12"}.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Thinking").select_option("off")
    page.keyboard.press("Escape")
    ask(page, "Hello")
    if not REAL:
        body = fake.requests[-1]
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert {name: body[name] for name in ("temperature", "top_p", "top_k", "min_p", "max_tokens")} == {
            "temperature": 0.3, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "max_tokens": 12}
        assert body["reasoning_effort"] == "none" and body["chat_template_kwargs"] == {"enable_thinking": False}
    page.reload()
    expect(page.get_by_label("Temperature")).to_have_value("0.3")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("-4")  # no server would take it: it is not sent
    page.get_by_label("Thinking").select_option("high")
    page.keyboard.press("Escape")
    ask(page, "Hello again")
    if not REAL:
        assert "temperature" not in fake.requests[-1] and fake.requests[-1]["reasoning_effort"] == "high"
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_label("System prompt")).to_have_value("")


@needs_set_answers
def test_the_model_is_chosen_and_remembered(page, fake):
    page.get_by_label("Model").select_option("other")
    ask(page, "Who are you?")
    assert fake.requests[-1]["model"] == "other"
    expect(last(page).locator(".who")).to_have_text("other")
    page.reload()
    expect(page.get_by_label("Model")).to_have_value("other")


# ---- Who uses it, and with what


@pytest.fixture
def brightness(page):
    return lambda: sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))


def test_dark_and_light(page, brightness):
    assert brightness() > 600
    page.emulate_media(color_scheme="dark")
    assert brightness() < 150
    page.get_by_role("button", name="Light colours").click()
    assert brightness() > 600
    page.reload()
    assert brightness() > 600
    page.get_by_role("button", name="Dark colours").click()
    page.emulate_media(color_scheme="light")
    assert brightness() > 600  # along with the system again


def test_narrow(page):
    page.set_viewport_size({"width": 360, "height": 640})
    ask(page, "code with a_very_long_word_" + "x" * 200)
    ask(page, "wide table")
    ask(page, "refuse it")

    def sideways():
        return page.evaluate("[document.documentElement.scrollWidth, document.getElementById('scroll').scrollWidth]")
    assert max(sideways()) <= 360
    # What only screen readers see must not make the whole page longer than the window.
    assert page.evaluate("document.documentElement.scrollHeight") == 640
    expect(page.locator("#sidebar")).to_be_hidden()
    page.get_by_role("button", name="Conversations").click()
    expect(page.locator("#sidebar")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.get_by_role("button", name="Conversations")).to_be_focused()
    page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name="Settings").click()
    box = page.locator("#settings").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["height"] <= 640
    assert max(sideways()) <= 360


def test_keyboard_only(page):
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.type("One line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    page.keyboard.press("Enter")
    finished(page, 1)
    expect(page.locator(".user .body")).to_have_text("One line\nand another")
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.locator("#messages")).to_be_empty()
    page.keyboard.type("Second")
    page.keyboard.press("Enter")
    finished(page, 1)

    # Tab comes by everything that can be pressed, and one sees where one is.
    reached, unseen = set(), []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""(() => { const element = document.activeElement;
          return element === document.body ? ['', ''] : [element.getAttribute('aria-label') || element.innerText || element.id,
                  element.id === 'input' ? 'its frame' : getComputedStyle(element).outlineStyle]; })()""")
        if outline == "none":
            unseen.append(name)
        reached.add(name.split("\n")[0].strip())
    assert unseen == []
    assert {"To the message field", "Second", "One line", "Settings", "Dark colours", "Actions", "Edit", "Copy", "Retry",
            "input", "Send"} - reached == set()

    # The other conversation, by keys alone.
    page.get_by_role("link", name="One line").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("One line")
    expect(page.locator("#input")).to_be_focused()
    page.locator("#menu summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Rename")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Rename")).to_be_hidden()


def test_composing_sends_nothing(page):
    """Enter that ends the composing of a Japanese or Chinese word is not the one that sends."""
    page.locator("#input").fill("にほん")
    page.evaluate("""document.getElementById('input').dispatchEvent(
      new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))""")
    expect(page.locator("#input")).to_have_value("にほん")
    expect(page.locator("#messages")).to_be_empty()


@needs_set_answers
def test_screen_readers_hear_beginning_and_end(page):
    page.evaluate("""() => { window.heard = []; new MutationObserver(() => heard.push(document.getElementById('announcer').textContent))
      .observe(document.getElementById('announcer'), {childList: true, characterData: true, subtree: true}); }""")
    ask(page, "think")
    assert page.evaluate("heard") == ["The answer begins.", "The answer is complete."]
    ask(page, "refuse")
    assert page.evaluate("heard.at(-1)").startswith("The server refused (400 Bad Request). messages[0]")
    # Nothing else that changes while an answer comes is live.
    assert page.locator("#messages").evaluate("""(root) => [root, ...root.querySelectorAll('*')].filter((element) =>
      element.ariaLive || ['log', 'status', 'alert'].includes(element.role)).length""") == 0
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for role in ("navigation", "main", "banner", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)


def test_less_motion(page):
    moving = """[...document.querySelectorAll('*')].filter((element) => { const {animationName, transitionDuration} =
      getComputedStyle(element); return animationName !== 'none' || transitionDuration !== '0s'; }).length"""
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("width", [1200, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme, width):
    def check(where):
        # Colours that are still fading into their place would be measured halfway.
        page.wait_for_timeout(300)
        # In which order an answer's headings come is its writer's affair.
        found = Axe().run(page, options={"rules": {"heading-order": {"enabled": False}}}).response["violations"]
        wrong = [f"{where}: {each['impact']} {each['id']}: {each['help']}\n  " +
                 "\n  ".join(node["html"] + "\n    " + node["failureSummary"] for node in each["nodes"]) for each in found]
        assert wrong == [], "\n".join(wrong)

    page.set_viewport_size({"width": width, "height": 740})
    page.emulate_media(color_scheme=scheme)
    check("empty")
    for question in ("code please", "think", "refuse", "cut"):
        ask(page, question)
    for summary in page.locator("summary:visible").all():
        summary.click()
    check("conversation")
    page.keyboard.press("Escape")
    page.locator(".user").first.get_by_role("button", name="Edit").click()
    check("editing")
    page.keyboard.press("Escape")
    if width == 360:
        page.get_by_role("button", name="Conversations").click()
        check("list")
    page.get_by_role("button", name="Settings").click()
    check("settings")
