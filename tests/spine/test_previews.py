"""Previews as an operator meets them: they go ahead, full episodes stay on the device until they are asked for."""

from tests.spine.commands import Site, sim


def test_previews_go_ahead_and_full_episodes_stay_on_the_device(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device(
        "rig-1",
        {"sim": sim(duration_s=4.0)},
        port,
        trigger={"kind": "interval", "length_s": 2},
        spool={"when_full": "evict"},
        previews={"every_s": 0.5, "side": 64},
    )
    ran = site.run("collect", device, "--local")
    assert "2 committed, 0 waiting, 2 held" in ran.out
    held = [each for each in site.json("spool", "spool-rig-1")["episodes"] if each["state"] == "held"]
    assert [(each["kind"], each["why"]) for each in held] == [("full", "a preview went ahead")] * 2
    assert site.json("query", "store") == []
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    for preview, full in zip(previews, held, strict=True):
        rows = {name: (each["rows"], each["shape"], each["media_type"]) for name, each in preview["streams"].items()}
        assert rows["sim.cam"] == (4, [48, 64, 3], "image/jpeg")
        assert rows["sim.imu"][:2] == (4, [18])
        assert preview["duration_s"] > 1
        assert preview["bytes"] < full["bytes"] / 20
    assert site.run("verify", "store", "--deep").out == "nothing is wrong\n"
    site.run("collect", device, "--local", "--set", "previews={hold: false}", "--again")
    assert len(site.json("query", "store")) == 2
    ingest.interrupt()
