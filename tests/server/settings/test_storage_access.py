"""The object store of the images, as the operator names it."""

import os

import pytest

from wan_mcp.settings import read_settings
from wan_mcp.settings.provenance import examine_settings
from wan_mcp_tools.domain.errors import SettingsError

URL = {"WAN_MCP_STORAGE_URL": "s3://pictures/of/the-team/"}
KEYS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "the-secret-key"}


def test_without_an_address_nothing_of_the_store_is_read():
    assert read_settings({"AWS_ENDPOINT_URL": "nonsense", "AWS_ACCESS_KEY_ID": "x"}).storage is None


def test_a_store_is_read_with_its_bucket_prefix_and_keys():
    storage = read_settings(URL | KEYS | {"AWS_REGION": "eu-west-1"}).storage

    assert (storage.bucket, storage.prefix, storage.region) == ("pictures", "of/the-team", "eu-west-1")
    assert storage.address == "s3://pictures/of/the-team"
    assert (storage.access_key_id, storage.secret_access_key.get_secret_value()) == ("an-id", "the-secret-key")
    assert storage.endpoint == "https://pictures.s3.eu-west-1.amazonaws.com"


def test_a_bucket_alone_is_enough_and_the_keys_may_be_the_machines():
    storage = read_settings({"WAN_MCP_STORAGE_URL": "s3://pictures"}).storage

    assert (storage.prefix, storage.address) == ("", "s3://pictures")
    assert (storage.access_key_id, storage.secret_access_key) == (None, None)


def test_the_key_may_stand_in_a_file_and_is_never_shown(tmp_path):
    file = tmp_path / "key"
    file.write_text("the-secret-key\n", encoding="utf-8")
    environ = URL | {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY_FILE": str(file)}
    settings = read_settings(environ)

    assert settings.storage.secret_access_key.get_secret_value() == "the-secret-key"
    assert "the-secret-key" not in repr(settings)
    assert "the-secret-key" in examine_settings(environ).secrets


@pytest.mark.parametrize(
    ("url", "is_virtual_hosted", "endpoint"),
    [
        ("s3://pictures", True, "https://pictures.s3.cn-north-1.amazonaws.com.cn"),
        ("s3://pictures.example", False, "https://s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_bucket_stands_in_the_hosts_name_where_its_certificate_covers_that(url, is_virtual_hosted, endpoint):
    storage = read_settings({"WAN_MCP_STORAGE_URL": url, "AWS_REGION": "cn-north-1"}).storage

    assert (storage.is_virtual_hosted, storage.endpoint) == (is_virtual_hosted, endpoint)


def test_the_folder_of_images_need_not_be_set_where_a_store_keeps_them(tmp_path):
    nobody = read_settings(URL | {"WAN_MCP_STATE_DIR": str(tmp_path), "WAN_MCP_OUTPUT_DIR": os.devnull})

    nobody.require_folders()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WAN_MCP_STORAGE_URL": "https://an-id:the-secret-key@store/pictures"}, "is no address of an object store"),
        ({"WAN_MCP_STORAGE_URL": "s3://an-id:the-secret-key@pictures"}, "is no address of an object store"),
        ({"WAN_MCP_STORAGE_URL": "s3://"}, "is no address of an object store"),
        ({"WAN_MCP_STORAGE_URL": "s3://pictures/../x"}, "is no address of an object store"),
        ({"WAN_MCP_STORAGE_URL": "s3://pictures/a b"}, "is no address of an object store"),
        (URL | {"AWS_SECRET_ACCESS_KEY": "the-secret-key"}, "AWS_ACCESS_KEY_ID is not set"),
        (URL | {"AWS_ACCESS_KEY_ID": "an-id"}, "AWS_SECRET_ACCESS_KEY is not set"),
        (URL | {"AWS_SECRET_ACCESS_KEY_FILE": "/nowhere/key"}, "names /nowhere/key, which cannot be read"),
        (URL | {"AWS_ENDPOINT_URL": "http://store.example"}, "is plain http"),
        (URL | {"AWS_ENDPOINT_URL": "store.example"}, "is no address of a server"),
        (URL | {"AWS_ENDPOINT_URL": "https://an-id:the-secret-key@store"}, "is no address of a server"),
        (URL | {"AWS_ENDPOINT_URL": "https://store:port"}, "is no address of a server"),
        (URL | {"AWS_ALLOW_HTTP": "perhaps"}, "AWS_ALLOW_HTTP is 'perhaps'"),
        (URL | {"AWS_REGION": "evil.example/"}, "is no region"),
    ],
)
def test_what_cannot_be_used_is_refused_and_tells_no_secret(environ, said):
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(environ)
    assert "the-secret-key" not in str(caught.value)
