"""A simulated world for the real controller: virtual time, one thread, one seed.

`python -m tests.simulation --seeds 200` runs 200 worlds. In each of them the real work queue, reconciler, planning,
runs, status store, leader election and remote clients work against an in-memory API server and an in-memory Nexthink
and Qualtrics. Users, tools and faults act at random. Everything random comes from the seed, so a seed that fails
fails again. The approach is that of FoundationDB and TigerBeetle.

Where to start reading:

    simulation.py   one world: builds the parts, plays the plan, drains, and returns the result
    plan.py         what happens in a world, as a list of events made from the seed
    actors.py       how each kind of event changes the world
    loop.py         the event loop on virtual time; kills and pauses a replica between two steps of its tasks
    replica.py      the only module that knows how the controller is put together
    api_server.py   the in-memory API server
    remote.py       the in-memory network to Nexthink and Qualtrics, with its faults
    tenants.py      what exists in Nexthink and Qualtrics
    odd_events.py   invalid objects and misleading remote sides; odd_actors.py, damage.py and lies.py play them
    invariants.py   what must hold after every step and at the end
    mutants.py      known bugs, to put back: they show that the invariants find something
"""
