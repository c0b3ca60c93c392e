"""The settings: the only reader of the environment."""

from wan_mcp.settings.reading import expand_name, read_settings
from wan_mcp.settings.record import RegionAccess, Settings
from wan_mcp.settings.table import SETTING_ROWS, SettingRow

__all__ = ["SETTING_ROWS", "RegionAccess", "SettingRow", "Settings", "expand_name", "read_settings"]
