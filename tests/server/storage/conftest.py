"""Real folders, and a real object store."""

import pytest

from wan_mcp.settings import read_settings
from wan_mcp.storage import LocalStorage
from wan_mcp.storage.names import make_place
from wan_mcp.storage.s3 import S3Storage


class Folder:
    """A storage in folders, and what lies in it."""

    def __init__(self, tmp_path):
        self.storage = LocalStorage(tmp_path / "pictures")
        self.root = (tmp_path / "pictures").resolve()
        self.outside = [tmp_path / "outside.png", self.root / ".." / "outside.png"]
        self._spool = self.root

    def put(self, name, data):
        """Put bytes there without a check; give their place."""
        path = self.locate(self.root / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.root / name

    def locate(self, place):
        """Give the file that holds what has a place."""
        return place

    def list(self):
        """Give every file but the probe, by its name below the root."""
        root = self.locate(self.root)
        found = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return sorted(name for name in found if name != ".wan-mcp-probe")

    def leftovers(self):
        """Give the temporary files."""
        return [path.name for path in self._spool.rglob("*.part")] if self._spool.exists() else []


class Objects(Folder):
    """A storage in a real object store."""

    def __init__(self, tmp_path, bucket):
        super().__init__(tmp_path)
        self.access = read_settings(bucket.environ()).storage
        self.storage = S3Storage(self.access, self.storage, spool=tmp_path / "state" / "spool")
        self.root = make_place(bucket.name, "pictures")
        self.outside = [
            make_place(bucket.name, "outside.png"),
            make_place("other-bucket", "pictures", "outside.png"),
            self.root / ".." / "outside.png",
        ]
        self._bucket = bucket
        self._spool = tmp_path / "state" / "spool"

    def locate(self, place):
        return self._bucket.folder / place.relative_to(make_place(self._bucket.name))


def pytest_generate_tests(metafunc):
    """Run the tests of the port on every storage."""
    if "back_end" in metafunc.fixturenames:
        metafunc.parametrize("back_end", ["folder", "objects"], indirect=True)


@pytest.fixture
def back_end(request, tmp_path):
    """A storage of each kind in turn, and what lies in it."""
    if request.param == "folder":
        return Folder(tmp_path)
    return Objects(tmp_path, request.getfixturevalue("bucket"))


@pytest.fixture
def objects(tmp_path, bucket):
    """The storage in an object store."""
    return Objects(tmp_path, bucket)


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "pictures")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder.resolve()


@pytest.fixture
def link():
    """Make a symbolic link, where the system lets us."""

    def make(path, target):
        try:
            path.symlink_to(target, target_is_directory=target.is_dir())
        except OSError:
            pytest.skip("this system makes no symbolic links for us")

    return make


@pytest.fixture
def save(storage):
    """Write, verify and publish bytes as the server does; answers the path."""

    async def run(data, folder, stem, *, using=None, order_id="order"):
        async with (using or storage).open_draft(folder, order_id=order_id, index=1, owner="me") as draft:
            await draft.write(data)
            facts = await draft.verify()
            while True:
                target = await draft.find_target(stem, facts.extension)
                if await draft.publish(target):
                    return target

    return run
