"""The settings: the only reader of the environment."""

from wan_mcp.settings.region_access import RegionAccess
from wan_mcp.settings.settings import Settings, read_settings
from wan_mcp.settings.storage_access import StorageAccess
from wan_mcp.settings.table import SETTING_ROWS, SettingRow, expand_name

__all__ = [
    "SETTING_ROWS",
    "RegionAccess",
    "SettingRow",
    "Settings",
    "StorageAccess",
    "expand_name",
    "read_settings",
]
