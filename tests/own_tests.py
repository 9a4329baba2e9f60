"""Which test is a module's own, and how much of each module its own test covers. `bin/test --coverage` prints it.

The test of `preflight/proto/pmtu/fast.py` is `tests/proto/pmtu/test_fast.py`, that of `checks/mtu_path.py` is
`tests/checks/test_mtu_path.py`. `ELSEWHERE` lists the modules that other tests cover, and says which.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from coverage import Coverage
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "preflight/overlay/openvpn_process.py": "tests/overlay/test_openvpn.py",
    "preflight/overlay/zerotier_taken.py": "tests/overlay/test_sibling_states.py",
    "checks/control_clock.py": "tests/checks/test_control_answers.py",
    "checks/control_connect.py": "tests/checks/test_control_names.py",
    "checks/control_dns.py": "tests/checks/test_control_names.py",
    "checks/control_health.py": "tests/checks/test_control_answers.py",
    "checks/control_tls.py": "tests/checks/test_control_answers.py",
    "checks/control_url.py": "tests/checks/test_control_names.py",
    "preflight/net/way/answers.py": "tests/net/way/test_connection.py",
    "checks/posture_tls.py": "tests/net/test_old_tls.py",
    "preflight/proto/pmtu/probe.py": "tests/proto/pmtu/test_budget.py",
    "preflight/model/complaint.py": "tests/overlay/test_tailscale_words.py",
    "preflight/model/own_nat.py": "tests/overlay/test_own_nat.py",
    "preflight/model/product_ping.py": "tests/overlay/test_tailscale_ping.py",
    "preflight/model/machine.py": "tests/engine/test_machine.py",
    "preflight/model/product_fixes.py": "tests/model/test_fix.py",
    "preflight/__main__.py": "tests/cli/test_cli.py",
    "preflight/proto/tunnel/dead_session.py": "tests/checks/test_overlay_session.py",
    "preflight/lab/caddy.py": "tests/lab/test_gateways.py",
    "preflight/lab/front.py": "tests/lab/test_gateways.py",
    "preflight/lab/haproxy.py": "tests/lab/test_gateways.py",
    "preflight/cli/bundle.py": "tests/evidence/test_bundle.py",
    "preflight/cli/clean.py": "tests/attack/test_left_behind.py",
    "preflight/cli/commandline.py": "tests/cli/test_cli.py",
    "preflight/cli/control_plane.py": "tests/control/test_serve.py",
    "preflight/lab/fleet.py": "tests/fleet/test_fleet_run.py",
    "preflight/fixing/filter_steps.py": "tests/fixing/test_steps.py",
    "preflight/fixing/step.py": "tests/fixing/test_steps.py",
    "preflight/fleet/packing.py": "tests/fleet/test_collection.py",
    "preflight/cli/fix.py": "tests/lab/test_fix_command.py",
    "preflight/cli/fix_flow.py": "tests/lab/test_fix_command.py",
    "preflight/cli/group.py": "tests/cli/test_cli.py",
    "preflight/cli/fuzz.py": "tests/lab/test_forty_draws.py",
    "preflight/cli/in_lab.py": "tests/lab/test_lifecycle.py",
    "preflight/cli/nearest.py": "tests/cli/test_completion.py",
    "preflight/cli/init.py": "tests/settings/test_first_file.py",
    "preflight/cli/lab.py": "tests/lab/test_lifecycle.py",
    "preflight/cli/lookup.py": "tests/cli/test_completion.py",
    "preflight/cli/main.py": "tests/cli/test_cli.py",
    "preflight/cli/outputs.py": "tests/attack/test_outputs.py",
    "preflight/netlink.py": "tests/test_bare_package.py",
    "preflight/stun_codec.py": "tests/test_bare_package.py",
    "preflight/net/names.py": "tests/net/test_dns.py",
    "preflight/net/control/patience.py": "tests/net/test_shell_events.py",
    "preflight/engine/candidates.py": "tests/engine/test_diagnosis.py",
    "preflight/engine/shared.py": "tests/engine/test_diagnosis_shared_ways.py",
    "preflight/model/ipsec.py": "tests/proto/way/test_ipsec.py",
    "preflight/net/way/events.py": "tests/net/way/test_follow.py",
    "preflight/net/way/waiting.py": "tests/lab/test_confirmation.py",
    "preflight/proto/way/observation.py": "tests/proto/way/test_inference.py",
    "preflight/proto/way/flows.py": "tests/proto/way/test_observers.py",
    "preflight/proto/way/stations.py": "tests/proto/way/test_inference.py",
    "preflight/report/build.py": "tests/report/test_ways.py",
    "preflight/cli/report.py": "tests/report/test_compare.py",
    "preflight/cli/request.py": "tests/attack/test_green.py",
    "preflight/cli/responder.py": "tests/responder/test_command.py",
    "preflight/cli/run.py": "tests/cli/test_cli.py",
    "preflight/cli/session.py": "tests/engine/test_control_host.py",
    "preflight/cli/streams.py": "tests/attack/test_output_streams.py",
    "preflight/control/app.py": "tests/control/test_conformance_matrix.py",
    "preflight/control/bootstrap.py": "tests/control/test_bootstrap_exchange.py",
    "preflight/control/credentials.py": "tests/control/test_operations.py",
    "preflight/control/envelope.py": "tests/control/test_conformance_mailbox.py",
    "preflight/control/guard.py": "tests/control/test_conformance_gates.py",
    "preflight/control/handlers.py": "tests/control/test_conformance_matrix.py",
    "preflight/control/leases.py": "tests/control/test_conformance_leases.py",
    "preflight/control/logs.py": "tests/control/test_serve.py",
    "preflight/control/mailbox.py": "tests/control/test_conformance_mailbox.py",
    "preflight/control/metrics.py": "tests/control/test_operations.py",
    "preflight/control/models.py": "tests/control/test_conformance_registry.py",
    "preflight/control/nodes.py": "tests/control/test_conformance_registry.py",
    "preflight/control/refusal.py": "tests/control/test_conformance_gates.py",
    "preflight/control/routes.py": "tests/control/test_conformance_matrix.py",
    "preflight/control/schema.py": "tests/control/test_database.py",
    "preflight/engine/plugin_child.py": "tests/engine/test_plugins.py",
    "preflight/evidence/collect.py": "tests/evidence/test_bundle.py",
    "preflight/evidence/kept.py": "tests/evidence/test_capture.py",
    "preflight/net/load/flow.py": "tests/responder/test_load.py",
    "preflight/net/load/probes.py": "tests/responder/test_load.py",
    "preflight/net/load/talk.py": "tests/responder/test_load.py",
    "preflight/settings/model.py": "tests/settings/test_schema.py",
    "preflight/settings/responder.py": "tests/settings/test_schema.py",
    "preflight/model/token.py": "tests/proto/control/test_token_text.py",
    "preflight/proto/control/same_id.py": "tests/checks/test_nodes_identity.py",
    "preflight/proto/control/route_probe.py": "tests/checks/test_posture_routes.py",
    "preflight/proto/control/enrol_finding.py": "tests/checks/test_enroll_cycle.py",
    "preflight/lab/axes/addressing.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/axis.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/control.py": "tests/lab/test_control_setups.py",
    "preflight/lab/axes/node.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/product.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/rules.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/setup.py": "tests/lab/test_draws.py",
    "preflight/lab/axes/underlay.py": "tests/lab/test_draws.py",
    "preflight/lab/blueprint.py": "tests/lab/test_scenario_file.py",
    "preflight/lab/settings.py": "tests/lab/test_lifecycle.py",
    "preflight/lab/build.py": "tests/lab/test_lifecycle.py",
    "preflight/lab/certificates.py": "tests/lab/test_fake_servers.py",
    "preflight/lab/faultboard.py": "tests/lab/test_fuzz.py",
    "preflight/lab/forwarder.py": "tests/lab/test_diagnoses.py",
    "preflight/lab/inventory.py": "tests/lab/test_lifecycle.py",
    "preflight/lab/firewalls.py": "tests/lab/test_underlays.py",
    "preflight/lab/hosts.py": "tests/lab/test_underlays.py",
    "preflight/lab/keys.py": "tests/lab/test_faults.py",
    "preflight/lab/labs.py": "tests/lab/test_lifecycle.py",
    "preflight/lab/name_servers.py": "tests/lab/test_control_setups.py",
    "preflight/lab/links.py": "tests/lab/test_underlays.py",
    "preflight/lab/names.py": "tests/lab/test_lock.py",
    "preflight/lab/network.py": "tests/lab/test_faults.py",
    "preflight/lab/part.py": "tests/lab/test_faults.py",
    "preflight/lab/probe.py": "tests/lab/test_stations.py",
    "preflight/lab/processes.py": "tests/lab/test_lock.py",
    "preflight/lab/repairs.py": "tests/lab/test_heal.py",
    "preflight/lab/rehearsal.py": "tests/lab/test_heal.py",
    "preflight/lab/node_state.py": "tests/lab/test_heal.py",
    "preflight/lab/reaper.py": "tests/lab/test_fuzz.py",
    "preflight/lab/routes.py": "tests/lab/test_faults.py",
    "preflight/lab/scoreboard.py": "tests/lab/test_score.py",
    "preflight/lab/services.py": "tests/lab/test_diagnoses.py",
    "preflight/lab/site.py": "tests/lab/test_lifecycle.py",
    "preflight/lab/stations/daemons.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/nebula.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/nebula_clones.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/openvpn.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/naming.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/narrow.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/reaching.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/url.py": "tests/lab/test_url_faults.py",
    "preflight/lab/stations/answers.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/asks.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/bearers.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/addresses.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/catalogue.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/fault.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/firewalls.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/levers.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/making.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/network.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/posture.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/network_quality.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/moved.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outer_endpoints.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outer_filters.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outer_receiver.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outer_routes.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outside.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outside_packets.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/outside_proofs.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/proofs.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/servers.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/tls.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/tokens.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/routing.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/devices.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/clones.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/own_firewall.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/policies.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/rights.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/reverse_paths.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/sessions.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/sockets.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/forwarding.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/words.py": "tests/lab/test_stations.py",
    "preflight/lab/stations/sides.py": "tests/lab/test_stations.py",
    "preflight/lab/state.py": "tests/lab/test_lock.py",
    "preflight/lab/topology.py": "tests/lab/test_faults.py",
    "preflight/lab/trial.py": "tests/lab/test_matrix.py",
    "preflight/lab/tunnels.py": "tests/lab/test_faults.py",
    "preflight/lab/wg_quick.py": "tests/lab/test_setups.py",
    "preflight/model/change.py": "tests/model/test_fix.py",
    "preflight/lab/vm/__main__.py": "tests/lab/test_vm.py",
    "preflight/lab/vm/command.py": "tests/lab/test_vm.py",
    "preflight/model/control.py": "tests/net/control/test_client.py",
    "preflight/model/measurement.py": "tests/model/test_facts.py",
    "preflight/model/dns.py": "tests/net/test_dns.py",
    "preflight/model/enrolment.py": "tests/checks/test_enroll_cycle.py",
    "preflight/model/host_fixes.py": "tests/model/test_fix.py",
    "preflight/model/icmp.py": "tests/checks/test_reach_icmp.py",
    "preflight/model/kernel.py": "tests/net/test_kernel.py",
    "preflight/model/leaks.py": "tests/net/secrets/test_git.py",
    "preflight/model/name_fixes.py": "tests/model/test_fix.py",
    "preflight/model/network_fixes.py": "tests/model/test_fix.py",
    "preflight/model/counters.py": "tests/proto/way/test_counters.py",
    "preflight/model/network_state.py": "tests/proto/way/test_routing.py",
    "preflight/model/routing.py": "tests/proto/way/test_routing.py",
    "preflight/model/routing_fixes.py": "tests/model/test_fix.py",
    "preflight/model/outer_error.py": "tests/proto/way/test_outer_packets.py",
    "preflight/net/way/counters.py": "tests/net/way/test_routes.py",
    "preflight/net/way/ask_router.py": "tests/net/way/test_kernel_says.py",
    "preflight/net/way/kernel_questions.py": "tests/net/way/test_kernel_says.py",
    "preflight/net/raw_icmp.py": "tests/net/way/test_trace.py",
    "preflight/model/heard.py": "tests/net/responder/test_hello.py",
    "preflight/net/host_state.py": "tests/net/test_kernel.py",
    "preflight/net/responder/own_routes.py": "tests/net/responder/test_return_path.py",
    "preflight/net/flow_routes.py": "tests/net/way/test_flow_routes.py",
    "preflight/net/route_socket.py": "tests/net/way/test_lookups.py",
    "preflight/proto/way/address_messages.py": "tests/net/responder/test_return_path.py",
    "preflight/net/responder/by_ssh.py": "tests/lab/test_via_ssh.py",
    "preflight/net/responder/small_segments.py": "tests/lab/test_via_ssh.py",
    "preflight/proto/responder/remote_words.py": "tests/proto/responder/test_by_ssh.py",
    "preflight/responder/assembly.py": "tests/responder/test_packed.py",
    "preflight/responder/lifetime.py": "tests/responder/test_packed.py",
    "preflight/responder/pack.py": "tests/responder/test_packed.py",
    "preflight/model/parameters.py": "tests/model/test_fix.py",
    "preflight/model/peer_tunnel.py": "tests/proto/way/test_told.py",
    "preflight/model/peer.py": "tests/test_api.py",
    "preflight/model/plugins.py": "tests/attack/test_plugins.py",
    "preflight/model/pmtu_hops.py": "tests/proto/pmtu/test_hops.py",
    "preflight/model/product_policy.py": "tests/overlay/test_nebula_policy.py",
    "preflight/model/rejected.py": "tests/proto/stamp/test_sender.py",
    "preflight/model/observed.py": "tests/proto/responder/test_observed.py",
    "preflight/model/return_path.py": "tests/proto/responder/test_return_path.py",
    "preflight/model/roles.py": "tests/checks/test_posture_roles.py",
    "preflight/model/tapped.py": "tests/proto/way/test_tunnel_packets.py",
    "preflight/model/tcp.py": "tests/net/tcp/test_connect.py",
    "preflight/model/udp_port.py": "tests/net/way/test_udp_ports.py",
    "preflight/model/wireguard_fixes.py": "tests/model/test_fix.py",
    "preflight/net/bpf.py": "tests/net/test_watch.py",
    "preflight/net/control/exchange.py": "tests/net/control/test_client.py",
    "preflight/net/control/journal.py": "tests/attack/test_left_behind.py",
    "preflight/net/control/left_behind.py": "tests/attack/test_left_behind.py",
    "preflight/net/control/own_files.py": "tests/attack/test_credentials.py",
    "preflight/net/icmp/__main__.py": "tests/net/icmp/test_sweep.py",
    "preflight/net/icmp/echo.py": "tests/net/icmp/test_probes.py",
    "preflight/net/lookup.py": "tests/net/test_dns.py",
    "preflight/net/pmtu/__main__.py": "tests/net/pmtu/test_search.py",
    "preflight/net/recorder.py": "tests/evidence/test_capture.py",
    "preflight/net/responder/mailbox.py": "tests/net/stamp/test_path.py",
    "preflight/net/responder/reverse_trace.py": "tests/responder/test_tracer.py",
    "preflight/net/secrets/detector.py": "tests/net/secrets/test_git.py",
    "preflight/net/secrets/local.py": "tests/net/test_posture_live.py",
    "preflight/net/stamp/inquiry.py": "tests/net/stamp/test_path.py",
    "preflight/net/stamp/link.py": "tests/net/stamp/test_path.py",
    "preflight/net/control/living.py": "tests/net/test_request_way.py",
    "preflight/net/tcp/tls.py": "tests/net/test_request_way.py",
    "preflight/proto/icmp/advice.py": "tests/checks/test_reach_icmp.py",
    "preflight/proto/pmtu/evidence.py": "tests/proto/pmtu/test_fast.py",
    "preflight/proto/responder/reach_messages.py": "tests/checks/test_reach_udp.py",
    "preflight/proto/tunnel/interface_advice.py": "tests/checks/test_overlay_interface.py",
    "preflight/proto/way/session_advice.py": "tests/proto/way/test_session.py",
    "preflight/model/filter_fixes.py": "tests/model/test_fix.py",
    "preflight/net/way/legacy_tables.py": "tests/net/way/test_firewall.py",
    "preflight/net/way/nfnetlink.py": "tests/net/way/test_firewall.py",
    "preflight/proto/way/netfilter/action.py": "tests/net/way/test_firewall.py",
    "preflight/proto/way/netfilter/attributes.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/burst.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/judge.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/lazy.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/legacy.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/machine.py": "tests/net/way/test_firewall_worlds.py",
    "preflight/proto/way/netfilter/nftables.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/packet.py": "tests/net/way/test_firewall_worlds.py",
    "preflight/proto/way/netfilter/registers.py": "tests/net/way/test_firewall_worlds.py",
    "preflight/proto/way/netfilter/remedies.py": "tests/net/way/test_firewall.py",
    "preflight/proto/way/netfilter/ruleset.py": "tests/proto/way/netfilter/test_observe.py",
    "preflight/proto/way/netfilter/sets.py": "tests/net/way/test_firewall_worlds.py",
    "preflight/proto/way/netfilter/tracking.py": "tests/net/way/test_firewall.py",
    "preflight/proto/way/netfilter/walk.py": "tests/net/way/test_firewall_worlds.py",
    "preflight/proto/way/netfilter/xtables.py": "tests/net/way/test_firewall.py",
    "preflight/report/addresses.py": "tests/report/test_redact.py",
    "preflight/report/common.py": "tests/report/test_renderers.py",
    "preflight/report/fields.py": "tests/report/test_facts.py",
    "preflight/report/html.py": "tests/browser/test_html_report.py",
    "preflight/report/json.py": "tests/report/test_renderers.py",
    "preflight/report/junit.py": "tests/report/test_renderers.py",
    "preflight/report/markdown.py": "tests/report/test_exchange_formats.py",
    "preflight/report/model.py": "tests/report/test_renderers.py",
    "preflight/report/names.py": "tests/report/test_redact.py",
    "preflight/report/node.py": "tests/cli/test_cli.py",
    "preflight/report/openmetrics.py": "tests/report/test_exchange_formats.py",
    "preflight/report/pseudonyms.py": "tests/report/test_redact.py",
    "preflight/report/sarif.py": "tests/report/test_exchange_formats.py",
    "preflight/report/terminal.py": "tests/report/test_text.py",
    "preflight/report/text_causes.py": "tests/report/test_text.py",
    "preflight/report/text_results.py": "tests/report/test_grouping.py",
    "preflight/responder/hellos.py": "tests/net/responder/test_hello.py",
    "preflight/responder/nat.py": "tests/net/stun/test_nat.py",
    "preflight/responder/stun.py": "tests/net/stun/test_servers.py",
}


def modules() -> Iterator[Path]:
    """Every module that is tested, relative to the root: without each `__init__.py` that only describes a package."""
    for folder in ("preflight", "checks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "__init__.py":
                yield path.relative_to(ROOT)


def own_test(module: Path) -> Path:
    """Where a module's own test lies, relative to the root."""
    inside = module.relative_to("preflight") if module.parts[0] == "preflight" else module
    return Path("tests") / inside.with_name(f"test_{module.name}")


def covered(module: Path, measured: Coverage) -> tuple[int, int]:
    """How many lines of a module its own test ran, and how many there are.

    A line that ran while the module was imported belongs to every test that imports it. What a test starts as another
    process does not count.
    """
    path = str(ROOT / module)
    _, statements, _, _ = measured.analysis(path)
    data = measured.get_data()
    data.set_query_contexts([rf"^{own_test(module)}::", r"^$"])
    return len(set(data.lines(path) or ()) & set(statements)), len(statements)


def tests_below(folders: list[str]) -> list[Path]:
    """The own tests that there are below these folders of tests; without one, all."""
    named = [own_test(module) for module in modules()]
    wanted = [test for test in named if any(test.is_relative_to(folder) for folder in folders or ["tests"])]
    return [test for test in wanted if (ROOT / test).exists()]


def print_table(measured: Coverage) -> None:
    """Print the share of each module whose own test ran, the least first, then what has no own test."""
    contexts = measured.get_data().measured_contexts()
    ran = {Path(context.partition("::")[0]) for context in contexts}
    shares = {module: covered(module, measured) for module in modules() if own_test(module) in ran}
    table = Table("Module", "Own test covers", "Lines")
    for module, (run, of) in sorted(shares.items(), key=lambda entry: entry[1][0] / max(1, entry[1][1])):
        table.add_row(str(module), f"{run / max(1, of):.0%}", str(of))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"{len(ELSEWHERE)} modules have no test of their own; tests/own_tests.py says what covers them.")


def main(task: str, *words: str) -> None:
    """`list FOLDER…` prints own tests; `report FILE` prints the table of what they covered."""
    if task == "list":
        print(*tests_below(list(words)), sep="\n")
    else:
        measured = Coverage(data_file=words[0])
        measured.load()
        print_table(measured)


if __name__ == "__main__":
    main(*sys.argv[1:])
