"""A simulated world for the real controller: virtual time, one thread, one seed.

`python -m tests.simulation --seeds 200` runs 200 worlds. In each of them the real work queue, reconciler, planning,
runs, status store, leader election and remote clients work against an in-memory API server and an in-memory Nexthink
and Qualtrics. Users, tools and faults act at random. Everything random comes from the seed, so a seed that fails
fails again. FoundationDB and TigerBeetle are tested in the same way.

Where to start reading:

    simulation.py   one world: builds the parts, plays the plan, drains, and returns the result
    plan.py         what happens in a world, as a list of events made from the seed
    actors.py       how each kind of event changes the world
    loop.py         the event loop on virtual time; kills and pauses a replica between two steps of its tasks
    replica.py      the only module that knows how the controller is put together
    api_server.py   the in-memory API server
    remote.py       the in-memory network to Nexthink and Qualtrics, with its faults
    tenants.py      what exists in Nexthink and Qualtrics
    misleading.py   replies of Nexthink and Qualtrics that are wrong or endless
    damage.py       objects that this version of the operator would never write
    invalid_input_events.py  events with invalid objects and misleading replies
    invariants.py   what must hold after every step and at the end
    outcomes.py     which outcomes of runs have a counter that begins with 0
    mutants.py      known bugs: the invariants must find each of them
"""
