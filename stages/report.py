"""report: the whole run as one HTML page."""

from der.project.page import make_page
from der.project.stage import run_stage

if __name__ == "__main__":
    run_stage(make_page)
