"""Calls to the API server that take as long as a test may take. Only tests of the timeout set a shorter one."""

from kubernetes.aio import client

from qualtrics_exporter.controller.kube.api import CallLimits, ClusterApi
from tests.support.waiting import HANG_SECONDS


def patient_api(connection: client.ApiClient) -> ClusterApi:
    """The calls of one replica, without a timeout that expires on a busy machine."""
    return ClusterApi(connection, CallLimits(timeout=HANG_SECONDS))
