//! Tasks whose files are put in their places before they are COMPLETED.

use super::*;

fn committing() -> Event {
    let first = JobSpec { commits: true, retries: 1, ..spec(1) };
    let after = vec![Dependency { job: JobId(0), each: false, any_end: false }];
    Event::Submit(vec![first, JobSpec { after, ..spec(1) }])
}

fn committed(problem: Option<&str>) -> Event {
    Event::Committed { task: task(0), problem: problem.map(str::to_owned) }
}

#[test]
fn a_task_is_completed_when_its_files_are_in_place_and_only_then_others_start() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(committing()).ends(1, 1, completed());
    let Outcome::Completed(summary) = completed() else { panic!("{:?}", completed()) };
    let kept = Kept { task: task(0), attempt: attempt(1), host: HostId(1), process: None, summary };
    let kept = Record::Kept(kept);
    let acknowledge = ToAgent::Acknowledge { attempt: attempt(1) };
    let [Effect::Keep { .. }, Effect::Record(record), Effect::Commit { .. }, Effect::Send { message, .. }] =
        &cluster.effects[..]
    else {
        panic!("{:?}", cluster.effects);
    };
    assert_eq!((record, message), (&kept, &acknowledge));
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Running);
    cluster.on(committed(None));
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Completed);
    assert_eq!(cluster.delivered().len(), 1);
    assert_eq!(cluster.starts().len(), 1);
}

#[test]
fn what_cannot_be_put_in_its_place_fails_its_task_with_what_it_wrote_and_cancels_others() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(committing()).ends(1, 1, completed()).on(committed(Some("no room")));
    let [first, second] = cluster.delivered()[..] else { panic!("{:?}", cluster.effects) };
    assert_eq!((first.state, first.has_result, first.reason.as_deref()), (Lifecycle::Failed, true, Some("no room")));
    assert_eq!(second.state, Lifecycle::Cancelled);
    assert_eq!(cluster.verdict(), verdict(End::Done, 0, 1, 1));
}

#[test]
fn neither_the_end_of_all_hosts_nor_a_cancel_is_the_end_before_files_are_in_place() {
    let mut cluster = Cluster::new();
    cluster.starting(1).join(1, 1).on(committing()).ends(1, 1, completed()).loses(1, false).down(1);
    assert_eq!(cluster.verdict(), None);
    cluster.on(Event::Cancel);
    assert_eq!(cluster.verdict(), None);
    cluster.on(committed(None));
    assert_eq!(cluster.verdict(), verdict(End::Cancelled, 1, 0, 1));
}

#[test]
fn nothing_is_waited_for_when_the_batch_is_abandoned() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(committing()).submit(1).ends(1, 1, completed()).on(Event::Abandon);
    assert_eq!(cluster.verdict(), verdict(End::Cancelled, 0, 0, 3));
}

#[test]
fn another_attempt_is_stopped_as_soon_as_one_has_run_well() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(committing()).later(30).join(2, 1);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    cluster.ends(2, 2, completed());
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(1) }), "{:?}", cluster.effects);
    cluster.ends(1, 1, completed()).on(committed(None));
    assert_eq!(cluster.manager.counts().completed, 1);
}
