"""`outboard chat` through a pipe and on a terminal."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

from support import OUTBOARD, run


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *arguments, home):
        self.master, slave = pty.openpty()
        environment = {**os.environ, "HOME": str(home), "TERM": "xterm"}
        self.process = subprocess.Popen([OUTBOARD, *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, pattern, seconds=60):
        """Reads until the pattern appears in what came since the last match."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, f"{pattern!r} did not appear in {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    assert re.search(pattern, self.seen), self.seen
        text = self.seen[: match.end()]
        self.seen = self.seen[match.end():]
        return text

    def end(self):
        try:
            return self.process.wait(30)
        finally:
            os.close(self.master)


def test_conversation_through_a_pipe(tmp_path):
    saved = tmp_path / "talk.json"
    lines = ["My name is Ada.", "What is the capital of France?", "/nosuch", f"/save {saved}", "/exit"]
    result = run("chat", "smollm2", "--temp", "0", "-n", "30", stdin="\n".join(lines).encode())
    assert "Paris" in result.out
    assert "/nosuch is no command" in result.err
    talk = json.loads(saved.read_text())
    assert [m["role"] for m in talk] == ["user", "assistant", "user", "assistant"]
    assert talk[0]["content"] == "My name is Ada."
    # A saved conversation goes on where it ended.
    more = run("chat", "smollm2", "--temp", "0", "-n", "20", stdin=f"/load {saved}\nAnd of Italy?\n".encode())
    assert "Rome" in more.out or "Italy" in more.out


def test_earlier_turns_are_not_computed_again():
    turns = ["/stats", "Tell me about the sea.", "And the mountains?", "Thanks."]
    result = run("chat", "smollm2", "--temp", "0", "-n", "40", stdin="\n".join(turns).encode())
    stats = re.findall(r"prompt (\d+) tokens, [\d.]+ tokens/s(?: \((\d+) known already\))?", result.err)
    assert len(stats) == 3
    # Only the new message and the template around it are computed.
    for prompt, known in stats[1:]:
        assert int(prompt) - int(known) < 30


def test_messages_of_several_lines_and_bad_commands(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"no": "list"}')
    lines = ['"""What is the', 'capital of France?"""', "/set temp hot", "/set nothing 1", f"/load {bad}",
             "/load /no/such/file", "/system Be brief.", "/clear", "/help"]
    result = run("chat", "smollm2", "--temp", "0", "-n", "24", stdin="\n".join(lines).encode())
    assert "Paris" in result.out
    for message in ("is no number", "expected temp", "expected a JSON list", "No such file", "/save FILE"):
        assert message in result.err


def test_a_base_model_is_refused():
    assert "base model" in run("chat", "gemma3-270m", stdin=b"hi\n", ok=False).err


def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path):
    terminal = Terminal("chat", "smollm2", "--temp", "0", home=tmp_path)
    terminal.wait_for(">>> ")
    terminal.type("Write a very long story about a river.\n")
    terminal.wait_for("(?i)river.*\n.*[a-z]{3}")
    time.sleep(0.5)
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.wait_for(">>> ")
    terminal.type("What is the capital of France?\n")
    terminal.wait_for("Paris")
    terminal.wait_for(">>> ")
    time.sleep(0.5)  # the line editor drops what is typed while it sets the terminal up
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "capital of France" in (tmp_path / ".outboard_history").read_text().replace("\\040", " ")
