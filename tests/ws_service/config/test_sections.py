"""The defaults by which sections are compared are those of the models."""

from __future__ import annotations

import pytest

import proxy.config
from ws_service.config.dash_section import DashSection
from ws_service.config.sections import DEFAULTS, SECTIONS
from ws_service.config.settings import Settings

ACTUAL = {
    "gateway": proxy.config.Settings().model_dump(mode="json"),
    "ws_service": Settings().model_dump(mode="json"),
    "dash_app": DashSection().model_dump(mode="json"),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_what_a_section_is_compared_by_is_its_models_default(section: str) -> None:
    assert {key: ACTUAL[section][key] for key in DEFAULTS[section]} == DEFAULTS[section]
