"""What git prints, read as lines."""

from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.secrets.gitlog import Line, commits, grep_lines, log_lines

LOG = b"""\0abc1234

diff --git a/deploy/app.yml b/deploy/app.yml
new file mode 100644
--- /dev/null
+++ b/deploy/app.yml
@@ -0,0 +1,3 @@
+first
+++ b/looks like a head
+third
@@ -9 +12 @@ context
-gone
+twelfth
\0def5678

--- a/.env
+++ b/.env
@@ -3,2 +3,0 @@
-taken
-out
"""


def test_added_lines_of_a_log() -> None:
    """File, number and commit of each added line, also where an added line looks like a diff's head."""
    assert list(log_lines(LOG)) == [
        Line("deploy/app.yml", 1, "first", "abc1234"),
        Line("deploy/app.yml", 2, "++ b/looks like a head", "abc1234"),
        Line("deploy/app.yml", 3, "third", "abc1234"),
        Line("deploy/app.yml", 12, "twelfth", "abc1234"),
    ]
    assert commits(LOG) == 2


@given(
    st.lists(st.sampled_from([b"\0abc", b"+++ b/x", b"@@ -1 +2,3 @@", b"@@ -1 +2,x @@", b"+y", b"-z", b"\xff", b""]))
)
def test_no_output_breaks_the_reading(lines: list[bytes]) -> None:
    """A log that is cut off anywhere, or that a file name plays tricks with, gives lines or none, never a crash."""
    output = b"\n".join(lines)
    assert len(list(log_lines(output))) <= sum(line.startswith(b"+") for line in lines)
    assert list(grep_lines(output)) == []


def test_lines_of_a_grep() -> None:
    """Names with colons and text with anything are kept apart; what was cut off is left out."""
    output = b"HEAD:a:b.yml\x004\x00x: y\x00z\r\n--\nHEAD:c.env\x0012\x00A=1\nHEAD:d.env\x001"
    assert list(grep_lines(output)) == [Line("a:b.yml", 4, "x: y\0z"), Line("c.env", 12, "A=1")]
    assert list(grep_lines(b"")) == []
