"""The manifests: built by kustomize, valid in every Kubernetes from 1.30 on, and restricted."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.pipeline.built_manifests import (
    Manifest,
    build,
    kustomize_reason,
    pods,
    published_schemas,
)

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("dev", "prod")
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
STEPS = {"pipelines.kubeflow.org/v2_component": "true"}


pytestmark = pytest.mark.skipif(kustomize_reason() is not None, reason=str(kustomize_reason()))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """Both overlays with every component switched on, since README.md has people switch them on."""
    copy = with_every_component(tmp_path_factory.mktemp("k8s"))
    return {name: build(copy / "overlays" / name) for name in OVERLAYS}


def with_every_component(directory: Path) -> Path:
    copy = directory / "k8s"
    shutil.copytree(K8S, copy)
    for name in OVERLAYS:
        path = copy / "overlays" / name / "kustomization.yaml"
        path.write_text(re.sub(r"# (- \.\./\.\./components/)", r"\1", path.read_text()))
    return copy


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def labels_match(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    return all(labels.get(k) == v for k, v in wanted.items()) and all(
        labels.get(e["key"]) in e["values"] for e in expressions
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_build_as_they_stand(overlay):
    assert build(K8S / "overlays" / overlay)


def test_the_overlays_know_every_component(everything):
    for overlay in OVERLAYS:
        text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
        expected = set(COMPONENTS) - ({"postgres", "object-store"} if overlay == "prod" else set())
        assert set(re.findall(r"components/([a-z-]+)", text)) == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_core_kinds_are_valid_strictly(everything, overlay, version):
    for manifest in everything[overlay]:
        if "kueue" in manifest["apiVersion"] or "kubeflow" in manifest["apiVersion"]:
            continue
        kubernetes_validate.validate(manifest, version, strict=True)


def test_custom_kinds_are_valid(everything):
    directory = Path(os.environ.get("LONGTAIL_CRDS", ROOT.parent / "shared" / "schemas"))
    schemas = published_schemas(directory)
    custom = [
        m for m in everything["dev"] if "kueue" in m["apiVersion"] or "kubeflow" in m["apiVersion"]
    ]
    assert {m["kind"] for m in custom} == {
        *("TrainingRuntime", "ResourceFlavor", "ClusterQueue", "LocalQueue")
    }
    checked = [m for m in custom if (m["apiVersion"], m["kind"]) in schemas]
    if not checked:
        pytest.skip(f"{directory} holds no CustomResourceDefinition; name a folder: LONGTAIL_CRDS")
    for manifest in checked:
        jsonschema.validate(manifest, schemas[manifest["apiVersion"], manifest["kind"]])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted_and_bounded(everything, overlay):
    for name, pod in pods(everything[overlay]):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] >= 999, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert not any(key in pod for key in ("hostNetwork", "hostPID", "hostIPC")), name
        assert not any("hostPath" in volume for volume in pod["volumes"]), name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}, name
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_of_this_image_write_to_scratch_alone(everything, overlay):
    for name, pod in pods(everything[overlay]):
        for container in containers(pod):
            if "longtail" in container["image"]:
                mounts = {m["mountPath"] for m in container["volumeMounts"]}
                assert "/scratch" in mounts, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_references_and_readme_makes_each(everything, overlay):
    readme = (K8S / "README.md").read_text(encoding="utf-8")
    manifests = everything[overlay]
    assert not [m for m in manifests if m["kind"] == "Secret"]
    wanted = set(
        re.findall(r"secretKeyRef:\n\s+key: \S+\n\s+name: (\S+)", yaml.safe_dump(manifests))
    )
    assert wanted
    for secret in wanted:
        assert re.search(rf"create secret generic {secret}\b", readme), secret


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_inside_of_the_cluster_hold(everything, overlay):
    """ConfigMaps, service accounts, priority classes and services' targets exist."""
    manifests = everything[overlay]
    named = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    for name, pod in pods(manifests):
        if "priorityClassName" in pod:
            assert ("PriorityClass", pod["priorityClassName"]) in named, name
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in named, name
        for reference in re.findall(
            r"configMap(?:Ref|KeyRef)?:\n(?:\s+key: \S+\n)?\s+name: (\S+)", yaml.safe_dump(pod)
        ):
            assert ("ConfigMap", reference) in named, (name, reference)
    workloads = [m for m in manifests if m["kind"] in ("Deployment", "StatefulSet")]
    for service in (m for m in manifests if m["kind"] == "Service"):
        (port,) = service["spec"]["ports"]
        targets = [
            p["name"]
            for m in workloads
            if labels_match(
                {"matchLabels": service["spec"]["selector"]},
                m["spec"]["template"]["metadata"]["labels"],
            )
            for c in m["spec"]["template"]["spec"]["containers"]
            for p in c["ports"]
        ]
        assert targets == [port["targetPort"]], service["metadata"]["name"]


def allowed(policies: list[Manifest], source: Manifest, target: Manifest, port: int) -> bool:
    """Say whether NetworkPolicies let a pod reach another: each side has to, if it is restricted.

    A pod is `{namespace, labels}`; peers without addresses are looked at, ipBlocks are not.
    """

    def side(direction: str, here: Manifest, there: Manifest) -> bool:
        mine = [
            p["spec"]
            for p in policies
            if p["metadata"]["namespace"] == here["namespace"]
            and labels_match(p["spec"]["podSelector"], here["labels"])
            and direction in p["spec"]["policyTypes"]
        ]
        rules = [rule for spec in mine for rule in spec.get(direction.lower(), [])]
        return not mine or any(rule_allows(rule, here, there) for rule in rules)

    def rule_allows(rule: Manifest, here: Manifest, there: Manifest) -> bool:
        if not any(p["port"] == port for p in rule.get("ports", [{"port": port}])):
            return False
        peers = rule.get("from", rule.get("to"))
        return peers is None or any(peer_is(peer, here, there) for peer in peers)

    def peer_is(peer: Manifest, here: Manifest, there: Manifest) -> bool:
        if "ipBlock" in peer:
            return False
        names = {"kubernetes.io/metadata.name": there["namespace"]}
        near = there["namespace"] == here["namespace"]
        place = (
            labels_match(peer["namespaceSelector"], names) if "namespaceSelector" in peer else near
        )
        return place and labels_match(peer.get("podSelector", {}), there["labels"])

    return side("Egress", source, target) and side("Ingress", target, source)


def test_network_policies_let_through_what_each_part_needs_and_no_more(everything):
    policies = [m for m in everything["dev"] if m["kind"] == "NetworkPolicy"]

    def pod(name: str) -> Manifest:
        return {"namespace": "longtail", "labels": {"app.kubernetes.io/name": name}}

    step = {"namespace": "kubeflow", "labels": STEPS}
    stranger = {"namespace": "default", "labels": {"app.kubernetes.io/name": "mlflow"}}
    dns = {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    kfp = {"namespace": "kubeflow", "labels": {"app": "ml-pipeline"}}
    parts = {n: pod(n) for n in ("mlflow", "postgres", "postgres-backup", "object-store", "bucket")}
    known = {**parts, "step": step, "stranger": stranger, "dns": dns, "kfp": kfp}
    targets = {"mlflow": 5000, "postgres": 5432, "object-store": 8333, "dns": 53}
    reached = {
        (source, target)
        for target, port in targets.items()
        for source, pod_ in known.items()
        if source != target and allowed(policies, pod_, known[target], port)
    }
    resolving = {(source, "dns") for source in known if source != "dns"}
    assert reached == resolving | {
        ("step", "mlflow"),
        ("step", "object-store"),
        ("mlflow", "postgres"),
        ("mlflow", "object-store"),
        ("postgres-backup", "postgres"),
        ("postgres-backup", "object-store"),
        ("bucket", "object-store"),
    }
    [runtime] = [m for m in everything["dev"] if m["kind"] == "TrainingRuntime"]
    [job] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    labels = job["template"]["spec"]["template"]["metadata"]["labels"]
    node = {"namespace": "kubeflow", "labels": labels}
    assert allowed(policies, node, node, 29400) and not allowed(policies, step, node, 29400)
    assert allowed(policies, node, parts["object-store"], 8333)
    assert allowed(policies, step, kfp, 8887)
    assert not allowed(policies, stranger, step, 8080)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_resolved_by_the_cache_on_the_node_too(everything, overlay):
    """Its address where it is the node's, its pods where the network redirects to them."""
    policies = [m for m in everything[overlay] if m["kind"] == "NetworkPolicy"]
    cache = {"namespace": "kube-system", "labels": {"k8s-app": "node-local-dns"}}
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    for namespace, labels in (("kubeflow", STEPS), ("longtail", {})):
        assert allowed(policies, {"namespace": namespace, "labels": labels}, cache, 53)
        addresses = [
            peer["ipBlock"]["cidr"]
            for policy in policies
            if policy["metadata"]["namespace"] == namespace
            for rule in policy["spec"].get("egress", [])
            if rule.get("ports") == ports
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        assert addresses == ["169.254.20.10/32"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_runs_in_a_profile_reach_kubeflow_and_the_services(overlay, tmp_path):
    """After the command of README.md that writes the profile into the manifests."""
    copy = with_every_component(tmp_path)
    readme = (K8S / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^    (perl .*\\\n.*)$", readme, flags=re.MULTILINE)
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    manifests = build(copy / "overlays" / overlay)
    assert "kubeflow" not in {m["metadata"].get("namespace") for m in manifests}
    [queue] = [m for m in manifests if m["kind"] == "ClusterQueue"]
    assert labels_match(
        queue["spec"]["namespaceSelector"], {"kubernetes.io/metadata.name": "my-profile"}
    )
    policies = [m for m in manifests if m["kind"] == "NetworkPolicy"]
    step, elsewhere = ({"namespace": n, "labels": STEPS} for n in ("my-profile", "kubeflow"))
    kfp = {"namespace": "kubeflow", "labels": {"app": "ml-pipeline"}}
    mlflow = {"namespace": "longtail", "labels": {"app.kubernetes.io/name": "mlflow"}}
    store = {"namespace": "longtail", "labels": {"app.kubernetes.io/name": "object-store"}}
    assert allowed(policies, step, kfp, 8887)
    assert allowed(policies, step, mlflow, 5000) and not allowed(policies, elsewhere, mlflow, 5000)
    assert allowed(policies, step, store, 8333) is (overlay == "dev")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_role_reaches_secrets_at_large_or_everything(everything, overlay):
    roles = [m for m in everything[overlay] if m["kind"] in ("Role", "ClusterRole")]
    assert {m["kind"] for m in roles} == {"Role"}
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"] or rule["resourceNames"]
            assert "pods/exec" not in rule["resources"]


def test_a_job_made_by_hand_is_never_taken_for_an_earlier_one(everything):
    """`kubectl wait` is content at once with a job of that name that ended before."""
    readme = (K8S / "README.md").read_text(encoding="utf-8")
    made = re.findall(r"kubectl (-n \S+) create job (\S+) --from=cronjob/(\S+)", readme)
    cron_jobs = {m["metadata"]["name"]: m for m in everything["dev"] if m["kind"] == "CronJob"}
    assert {cron_job for _, _, cron_job in made} == set(cron_jobs)
    for namespace, job, cron_job in made:
        deleted = f"    kubectl {namespace} delete job {job} --ignore-not-found\n"
        assert f"{deleted}    kubectl {namespace} create job {job} " in readme
        assert cron_jobs[cron_job]["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"]


def test_prod_takes_images_by_digest(everything):
    for name, pod in pods(everything["prod"]):
        for container in containers(pod):
            assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"]), name


def test_the_services_fit_into_their_quota(everything):
    """Also while a backup runs and the server is being replaced."""
    for overlay in OVERLAYS:
        (quota,) = [
            m["spec"]["hard"]
            for m in everything[overlay]
            if m["kind"] == "ResourceQuota" and m["metadata"]["namespace"] == "longtail"
        ]
        asked = 0.0
        for manifest in everything[overlay]:
            if manifest["metadata"].get("namespace") == "longtail":
                for _, pod in pods([manifest]):
                    replicas = manifest["spec"].get("replicas", 1)
                    asked += replicas * sum(
                        gibibytes(c["resources"]["limits"]["memory"]) for c in pod["containers"]
                    )
        assert asked <= gibibytes(quota["limits.memory"])


def gibibytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) / (1024 if unit == "Mi" else 1)
