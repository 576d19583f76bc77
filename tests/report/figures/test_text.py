"""Text inside of plotly's figures."""

from der.report.figures.text import axis_labels, figure_text, wrapped_text


def test_axis_labels_are_all_different() -> None:
    long = "a name of more than twenty-four letters"
    names = [long, long.replace("more", "less"), long.replace("twenty", "thirty"), "a  b", "a b", "", "<i>"]
    names.append("a longer name")
    assert axis_labels(names) == [
        "a name …etters (0)",
        "a name …etters (1)",
        "a name …etters (2)",
        "a b (3)",
        "a b (4)",
        " (5)",
        "&lt;i&gt;",
        "a longer name",
    ]
    assert figure_text("<b>&amp;") == "&lt;b&gt;&amp;amp;"


def test_long_texts_are_wrapped_before_they_are_escaped() -> None:
    assert wrapped_text("<b> " + "x" * 34 + " &") == "&lt;b&gt;<br>" + "x" * 34 + " &amp;"
