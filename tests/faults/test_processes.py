"""Engines, workers and consumers die, freeze and multiply."""

import asyncio

from tests.faults.scene import IS_LONG, SERVICES, Scene


async def test_kills_of_any_process_at_any_moment(scene: Scene) -> None:
    scene.services.start(*SERVICES)
    for _ in range(40 if IS_LONG else 6):
        await scene.produce(scene.dice.randrange(1, 300))
        await asyncio.sleep(scene.dice.uniform(0, 1))  # the moment of the kill is what is drawn
        victim = scene.dice.choice(SERVICES)
        scene.services.restart(victim)
        scene.count(f"kills of {victim}")
    await scene.assert_right()
