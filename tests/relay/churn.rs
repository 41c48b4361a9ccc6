//! Allocations that come and go, by the thousand: what is left of them afterwards is nothing. `make test-full` does it with
//! more of them.

use tests::churn::churn;

/// Rule: abuse-32
#[test]
fn thousands_of_allocations_leave_no_port_no_descriptor_and_no_memory_behind() {
    let outcome = churn(2000, 20_000);
    assert!(outcome.is_good(), "{outcome}");
}
