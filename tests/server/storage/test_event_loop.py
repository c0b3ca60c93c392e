"""The disk is never asked on the event loop."""

from datetime import UTC, datetime

from blockbuster import blockbuster_ctx

from wan_mcp.storage import LocalStorage

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_no_call_of_the_gallery_blocks_the_event_loop(tmp_path, paint):
    data = paint(size=(1200, 1200), noisy=True)
    with blockbuster_ctx():
        gallery = LocalStorage(tmp_path / "pictures", [tmp_path / "more"])
        folder = await gallery.folder(None)
        stem = gallery.stem(
            prompt="x", created_at=NOON, order_id="order", index=1, count=1, filename=gallery.check_filename("x.png")
        )
        async with gallery.draft(folder, order_id="order", index=1, owner="me") as draft:
            await draft.write(b"false start")
            await draft.restart()
            await draft.write(data)
            facts = await draft.verify()
            target = await draft.target(stem, facts.extension)
            assert await draft.publish(target)
        await gallery.write_sidecar(target, {"prompt": "x"})
        assert await gallery.matches(target, facts.sha256)
        assert await gallery.facts(target) == facts
        copied, _ = await gallery.copy(target, await gallery.folder("album"), None)
        assert await gallery.readable(str(copied)) == copied
        assert len((await gallery.preview(copied)).data) <= 500_000
        assert await gallery.sweep(folder, order_id="order", keep_owner=None) == 0
        assert await gallery.sweep_older(folder, older_than=1e12) == 0
