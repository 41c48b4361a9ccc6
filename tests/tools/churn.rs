//! `churn`: 10,000 allocations at once, then 200,000 one after the other, against a relay in this process. Descriptors,
//! ports and memory must return to where they were, and an idle allocation may cost 2 KiB of ours at most.

use std::process::ExitCode;

use tests::churn::churn;

fn main() -> ExitCode {
    let outcome = churn(10_000, 200_000);
    print!("{outcome}");
    println!("{}", if outcome.is_good() { "churn: everything came back" } else { "churn: FAILED" });
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
