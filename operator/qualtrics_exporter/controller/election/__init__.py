"""The leader election: which replica works, and for how long no replica did.

leader_election.py    the terms of one replica: when they begin and end
leader_lease.py       the Lease: how a replica acquires, renews and releases it
leadership.py         the times without a leader, which the Lease passes on
"""
