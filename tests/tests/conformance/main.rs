//! Conformance: each scenario runs on the kernel and in the simulation, and must come to the same.
//!
//! What is compared is a log of outcomes: which call succeeded, which error it gave, which events came, which
//! bytes arrived and what followed them. So the simulator cannot be kinder than Linux, nor stricter. The other
//! half is the mutants: the simulator made wrong on purpose, once for each, must be noticed each time, and each
//! scenario must notice some of them. The table is in docs/TESTING.md.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what is not there fails the test"
)]

mod connecting;
mod descriptors;
mod ground;
mod messaging;
mod streaming;
mod timing;
mod unix;
mod worlds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sockeye_sim::Mutant;
use sockeye_tests::skip::{self, Need};
use worlds::{difference, in_simulation, on_kernel};

/// A scenario, and both worlds it runs in.
struct Scenario {
    name: &'static str,
    needs_raw: bool,
    kernel: fn() -> Vec<String>,
    simulation: fn(Option<Mutant>) -> Vec<String>,
}

macro_rules! scenarios {
    ($($module:ident { $($name:ident $($raw:ident)?,)* })*) => {
        fn scenarios() -> Vec<Scenario> {
            vec![$($(Scenario {
                name: concat!(stringify!($module), "::", stringify!($name)),
                needs_raw: scenarios!(@raw $($raw)?),
                kernel: || on_kernel($module::$name),
                simulation: |mutant| in_simulation($module::$name, mutant),
            },)*)*]
        }
    };
    (@raw raw) => { true };
    (@raw) => { false };
}
scenarios! {
    connecting {
        connect_over_ipv4,
        connect_over_ipv6,
        a_dual_stack_listener_sees_mapped_peers,
        an_ipv6_only_listener_refuses_ipv4,
        a_mapped_destination_is_ipv4,
        a_closed_port_refuses,
        a_closed_port_refuses_over_ipv6,
        a_refusal_is_told_once,
        a_refusal_can_be_read_instead,
        a_refusal_can_be_written_instead,
        after_a_refusal_nothing_stands,
        a_refusal_is_flagged,
        a_connection_is_flagged_writable,
        the_unspecified_address_is_the_loopback,
        the_unspecified_ipv6_address_is_the_loopback,
        a_group_is_no_destination,
        a_broadcast_is_no_destination,
        the_loopbacks_broadcast_is_no_destination,
        an_ended_connection_holds_its_source_port,
        port_0_refuses,
        a_source_address_is_kept,
        a_foreign_source_is_refused,
        a_source_of_the_other_family_is_refused,
        a_connect_to_itself_stands,
        the_peer_is_known_before_accept,
        an_empty_backlog_would_block,
        connections_are_accepted_in_order,
        accept_after_the_peer_has_closed,
        accept_after_data_and_close,
        accept_after_a_reset,
        accept_after_data_and_a_reset,
        a_full_backlog_is_silent,
        a_backlog_that_was_full_takes_again,
        closing_a_listener_resets_who_waits,
        a_closed_listener_refuses,
        a_port_is_free_again,
        an_address_is_taken_once,
        listeners_may_share_a_port,
        one_who_does_not_share_is_refused,
        a_wildcard_clashes_with_an_address,
        a_dual_stack_wildcard_clashes_with_ipv4,
        a_foreign_address_is_not_bound,
        port_0_becomes_two_ports,
        without_reuse_an_open_connection_blocks_the_port,
        without_reuse_an_ended_connection_blocks_the_port,
        each_connection_gives_an_event,
        a_listener_registered_late_hears_of_who_waits,
        many_connects_at_once,
        a_connect_can_be_dropped,
        who_listens_on_an_address_is_not_heard_on_another,
        a_write_before_the_connection_stands,
        accept_tells_who_connected,
        with_no_descriptor_left_accept_fails_and_keeps_the_connection,
        with_no_descriptor_left_an_empty_backlog_fails_too,
        with_no_descriptor_left_nothing_opens,
    }
    streaming {
        bytes_arrive,
        bytes_arrive_over_ipv6,
        nothing_to_read_would_block,
        writes_run_together,
        a_read_takes_what_has_room,
        an_empty_write_is_nothing,
        a_read_without_room_reads_nothing,
        vectored_writes_keep_their_order,
        a_vectored_write_takes_1024_buffers,
        a_window_that_stays_shut_is_out_of_time,
        a_window_that_stays_shut_is_waited_for,
        vectored_writes_skip_what_is_empty,
        large_transfers_are_whole,
        transfers_through_small_buffers_are_whole,
        both_directions_at_once,
        a_full_buffer_would_block,
        small_buffers_fill_early,
        a_drained_buffer_is_told,
        a_full_buffer_is_not_writable,
        writing_to_a_closed_peer,
        the_end_is_read_again_and_again,
        data_comes_before_the_end,
        half_closed_is_half_open,
        after_shutdown_writes_fail,
        a_byte_for_an_end_with_both_halves_shut_resets,
        shutdown_twice_is_fine,
        shutdown_of_reading_is_an_end,
        shutdown_of_reading_keeps_what_is_there,
        shutdown_of_reading_lets_more_in,
        shutdown_of_both,
        both_ends_shut_down,
        an_abort_is_a_reset,
        data_is_readable_after_a_reset,
        a_reset_is_told_once,
        a_reset_can_be_written_instead,
        closing_with_unread_data_resets,
        closing_after_a_partial_read_resets,
        closing_with_unread_data_after_a_half_close,
        closing_with_everything_read_is_an_end,
        after_a_reset_nothing_stands,
        a_reset_after_the_end,
        a_reset_of_a_half_closed_writer,
        both_close_at_once,
        a_close_delivers_what_was_written,
        an_abort_discards_what_was_not_sent,
        data_is_flagged,
        the_end_is_flagged,
        data_and_the_end_are_one_event,
        a_reset_is_flagged,
        a_reset_after_the_end_is_flagged,
        both_ends_are_flagged,
        an_own_shutdown_of_reading_is_told,
        what_is_left_unread_is_not_told_again,
        more_data_is_told_although_some_is_unread,
        writing_gives_no_event_of_its_own,
        a_registered_stream_is_writable_at_once,
        a_stream_registered_late_hears_of_data,
        a_stream_registered_late_hears_of_the_end,
        a_deregistered_stream_is_silent,
        a_dropped_stream_is_silent,
        events_are_told_to_who_they_are_for,
        options_are_taken,
        corked_bytes_leave_in_the_end,
        addresses_are_known_on_both_sides,
        a_long_conversation,
    }
    unix {
        bytes_arrive_both_ways,
        large_transfers_are_whole,
        both_sides_know_names,
        no_name_becomes_an_abstract_one,
        nobody_listens,
        a_name_is_taken_once,
        a_path_is_taken_once,
        a_path_that_is_left_behind,
        a_full_backlog_would_block,
        connections_are_accepted_in_order,
        accept_after_data_and_close,
        closing_a_listener_resets_who_waits,
        an_end_is_an_end,
        a_close_in_order_is_an_end,
        closing_with_unread_data_resets,
        a_reset_does_not_undo_the_connect,
        a_reset_can_be_written_instead,
        an_abort_is_an_end,
        shutdown_of_reading_is_told_to_the_writer,
        a_full_buffer_would_block_and_drains,
        events_are_told,
        both_ends_shut_down,
        with_no_descriptor_left_nothing_opens,
        datagrams_arrive_with_names,
        datagrams_to_nobody,
        a_full_queue_of_datagrams,
        a_connected_socket_hears_its_peer_only,
    }
    messaging {
        datagrams_arrive,
        datagrams_arrive_over_ipv6,
        an_answer_finds_its_way,
        an_empty_datagram_is_one,
        the_loopbacks_broadcast_needs_permission,
        a_probe_over_ipv6_fits_the_loopback,
        the_longest_datagrams_leave,
        datagrams_keep_their_bounds_and_order,
        a_batch_leaves_in_order,
        a_batch_stops_at_the_first_fault,
        a_batch_has_a_bound,
        what_does_not_fit_is_cut,
        the_longest_datagram,
        the_longest_datagram_over_ipv6,
        port_0_is_no_destination,
        a_destination_is_needed,
        a_connected_socket_needs_none,
        a_connected_socket_hears_its_peer_only,
        a_connected_socket_knows_its_address,
        a_refusal_meets_the_next_receive,
        a_refusal_meets_the_next_send,
        a_refusal_over_ipv6,
        a_refusal_is_an_event,
        an_unconnected_socket_hears_of_no_refusal,
        the_error_queue_says_who_refused,
        what_is_too_long_is_queued_too,
        the_error_queue_over_ipv6,
        a_queued_error_meets_an_innocent_send,
        taking_the_queued_error_clears_it,
        an_error_comes_before_data,
        several_refusals_queue_up,
        nothing_there_would_block,
        an_address_is_taken_once,
        sockets_may_share_an_address,
        a_foreign_address_is_not_bound,
        an_address_is_free_again,
        a_dual_stack_socket_hears_ipv4,
        an_ipv6_only_socket_does_not,
        an_ipv6_only_socket_sends_no_ipv4,
        an_ipv4_socket_sends_no_ipv6,
        the_destination_is_reported,
        the_destination_is_not_reported_unasked,
        the_hop_limit_is_reported,
        the_hop_limit_is_reported_over_ipv6,
        the_traffic_class_is_reported,
        a_hop_limit_of_0_is_refused,
        a_source_can_be_chosen,
        a_foreign_source_is_refused,
        a_broadcast_needs_permission,
        the_unspecified_address_is_the_loopback,
        segments_become_datagrams,
        a_full_receive_buffer_drops,
        a_datagram_is_an_event,
        a_socket_is_writable_at_once,
        a_socket_registered_late_hears_of_what_waits,
        a_wildcard_socket_hears_every_address,
        a_bound_address_hears_only_itself,
        an_echo_is_answered raw,
        an_echo_is_answered_over_ipv6 raw,
        an_own_request_is_heard_too raw,
        a_raw_protocol_reaches_its_socket raw,
        protocol_0_is_none raw,
        a_raw_socket_sends_no_other_family raw,
        a_refused_datagram_is_seen_as_icmp raw,
    }
    timing {
        the_alarm_comes,
        an_alarm_in_the_past_comes_at_once,
        a_cleared_alarm_does_not_come,
        an_earlier_alarm_replaces_a_later,
        a_later_alarm_replaces_an_earlier,
        an_alarm_comes_once,
        an_alarm_can_be_set_again,
        a_wake_up_comes,
        wake_ups_run_together,
        a_wake_up_from_another_thread,
        an_idle_poll_is_empty,
        the_clock_does_not_go_back,
        random_numbers_differ,
        events_fill_no_more_than_asked,
    }
}

/// What a scenario says in the simulation; a panic in it is an outcome too.
fn simulated(scenario: &Scenario, mutant: Option<Mutant>) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| (scenario.simulation)(mutant)))
        .unwrap_or_else(|_| vec!["a panic".to_owned()])
}

#[test]
fn the_simulation_is_like_the_kernel() {
    let raw = skip::require(&[Need::NetRaw]);
    let mut differing = Vec::new();
    let all = scenarios();
    assert!(all.len() >= 150, "{} scenarios", all.len());
    for scenario in all.iter().filter(|scenario| raw || !scenario.needs_raw) {
        let (kernel, simulation) = ((scenario.kernel)(), simulated(scenario, None));
        assert!(!kernel.is_empty(), "{} says nothing", scenario.name);
        if kernel != simulation {
            differing.push(format!(
                "{}:\n{}",
                scenario.name,
                difference(&kernel, &simulation)
            ));
        }
    }
    println!("{} scenarios, {} differ", all.len(), differing.len());
    assert!(
        differing.is_empty(),
        "{} of {} differ (K kernel, S simulation)\n{}",
        differing.len(),
        all.len(),
        differing.join("\n")
    );
}

/// Every mutant is noticed by some scenario, and every scenario notices some mutant. The simulation without a
/// mutant is the reference: that it is like the kernel is the other test's business.
#[test]
fn every_mutant_is_noticed_and_every_scenario_notices_one() {
    let all = scenarios();
    let reference: Vec<_> = all.iter().map(|scenario| simulated(scenario, None)).collect();
    std::panic::set_hook(Box::new(|_| {}));
    let mut notices = vec![0_usize; all.len()];
    let mut unnoticed = Vec::new();
    for &mutant in Mutant::ALL {
        let mut noticed_by = Vec::new();
        for (at, scenario) in all.iter().enumerate() {
            if simulated(scenario, Some(mutant)) != reference[at] {
                notices[at] += 1;
                noticed_by.push(scenario.name);
            }
        }
        println!(
            "{mutant:?} ({}): noticed by {}, first {:?}",
            mutant.description(),
            noticed_by.len(),
            noticed_by.first()
        );
        if noticed_by.is_empty() {
            unnoticed.push(mutant);
        }
    }
    let _ = std::panic::take_hook();
    let blind: Vec<_> = all
        .iter()
        .zip(&notices)
        .filter(|(_, count)| **count == 0)
        .map(|(s, _)| s.name)
        .collect();
    println!(
        "{} mutants, {} unnoticed; {} scenarios, {} blind",
        Mutant::ALL.len(),
        unnoticed.len(),
        all.len(),
        blind.len()
    );
    assert!(
        unnoticed.is_empty() && blind.is_empty(),
        "no scenario notices {unnoticed:?}, no mutant is noticed by {blind:?}"
    );
}
