//! `titan map -i -o --trc --base` on this machine: what tasks are given and leave.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use titan_tests::cli::{Desk, Outcome, Running};
use titan_tests::rig::availability::skipped_for;

#[track_caller]
fn sh(desk: &Desk, text: &str) -> Outcome {
    let mut command = desk.command("/bin/sh");
    command.args(["-c", text]).env("titan", titan_tests::program::titan());
    Running::start(&mut command).wait()
}

fn desk() -> Desk {
    let desk = Desk::new();
    for name in ["one", "two", "three"] {
        desk.write(&format!("in/{name}.txt"), name);
    }
    desk
}

fn read(desk: &Desk, name: &str) -> String {
    fs::read_to_string(desk.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn each_task_gets_its_files_and_gives_back_what_it_declares() {
    let desk = desk();
    let outcome = sh(
        &desk,
        "$titan map -i {} -o up/{/} -s 'tr a-z A-Z < {} > up/{/}; ls -A; echo x > extra' ::: in/one.txt in/two.txt",
    );
    assert_eq!(outcome.expect(0).text(), "in\nup\nin\nup\n");
    assert_eq!((read(&desk, "up/one.txt"), read(&desk, "up/two.txt")), ("ONE".into(), "TWO".into()));
    assert!(!desk.path("extra").exists());
    desk.wait_until_tidy();
}

#[test]
fn a_file_goes_and_what_is_made_of_it_returns() {
    let desk = desk();
    sh(&desk, "$titan map --trc {}.gz gzip {} ::: in/*.txt").expect(0);
    // The originals are nobody's to remove.
    let names = sh(&desk, "ls in; gzip -dc in/two.txt.gz").expect(0).text();
    assert_eq!(names, "one.txt\none.txt.gz\nthree.txt\nthree.txt.gz\ntwo.txt\ntwo.txt.gz\ntwo");
}

#[test]
fn modes_times_folders_and_links_are_kept_both_ways() {
    let desk = desk();
    sh(&desk, "mkdir -p d/e; echo x > d/e/x; chmod 751 d/e/x; touch -d 2001-02-03T04:05:06Z d/e/x; ln -s e/x d/link; : > d/empty").expect(0);
    let script = "test -x d/e/x && test -L d/link && test ! -s d/empty && cp -a d out && chmod 640 out/empty";
    sh(&desk, &format!("$titan map -n0 -i d -o out -s '{script}' ::: 1")).expect(0);
    let data = fs::metadata(desk.path("out/e/x")).unwrap();
    assert_eq!((data.mode() & 0o7777, data.mtime()), (0o751, 981_173_106));
    assert_eq!(fs::read_link(desk.path("out/link")).unwrap().to_str(), Some("e/x"));
    assert_eq!(fs::metadata(desk.path("out/empty")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn names_may_be_anything_that_a_file_can_be_called() {
    let desk = Desk::new();
    let script = "printf a > 'a b'; printf b > \"n
l\"; printf c > '*'; printf d > '-x'; name=$(printf 'q\\377'); printf e > \"$name\"; printf f > \"it's\"
        printf '%s\\0' 'a b' 'n\nl' '*' \"$name\" \"it's\" ./-x | $titan map -0 -k -i {} -o {}.out -s 'cat {} > {}.out; cat {}'";
    assert_eq!(sh(&desk, script).expect(0).text(), "abcefd");
    let outputs = sh(&desk, "cat 'a b.out' \"n\nl.out\" '*.out' ./-x.out \"it's.out\"; ls | wc -l").expect(0);
    assert_eq!(outputs.text(), "abcdf14\n");
}

#[test]
fn globs_take_many_files_at_once() {
    let desk = desk();
    let script = "$titan map -n0 -i 'in/*.txt' -o 'out/*.up' -s 'ls in; for f in one two; do cat in/$f.txt > out/$f.up; done' ::: 1";
    assert_eq!(sh(&desk, script).expect(0).text(), "one.txt\nthree.txt\ntwo.txt\n");
    assert_eq!(read(&desk, "out/one.up") + &read(&desk, "out/two.up"), "onetwo");
}

#[test]
fn an_anchor_says_what_the_place_there_is() {
    let desk = desk();
    let folder = desk.path("in").canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let outcome = sh(
        &desk,
        &format!("$titan map -n0 -i {folder}/./one.txt -o {folder}/../back/./x/y -s 'cat one.txt > x/y; ls' ::: 1"),
    );
    assert_eq!(outcome.expect(0).text(), "one.txt\nx\n");
    assert_eq!(read(&desk, "back/x/y"), "one");
    let refused = sh(&desk, "$titan map -i {} cat ::: /etc/hosts").expect(1);
    assert!(
        refused.stderr.contains("'/etc/hosts' is outside of the current folder: say with /./"),
        "{}",
        refused.stderr
    );
}

#[test]
fn all_tasks_are_given_what_is_named_as_base() {
    let desk = desk();
    sh(&desk, "printf '#!/bin/sh\\ncat lib/x\\n' > run.sh; chmod +x run.sh; mkdir lib; echo lib > lib/x").expect(0);
    let outcome = sh(&desk, "$titan map -n0 --base ./run.sh --base lib ./run.sh ::: 1 2");
    assert_eq!(outcome.expect(0).text(), "lib\nlib\n");
}

#[test]
fn what_is_missing_fails_its_task_alone() {
    let desk = desk();
    let outcome = sh(&desk, "$titan map -k -i {} cat ::: in/one.txt no in/two.txt").expect(1);
    assert_eq!(outcome.text(), "onetwo");
    assert!(outcome.stderr.contains("task 2 on localhost: its input 'no' isn't there"), "{}", outcome.stderr);
    let outcome = sh(&desk, "$titan map -k -o {}.out -s 'test {} = b || echo {} > {}.out' ::: a b c").expect(1);
    assert!(outcome.stderr.contains("it made no output b.out"), "{}", outcome.stderr);
    assert_eq!(read(&desk, "a.out") + &read(&desk, "c.out"), "a\nc\n");
}

#[test]
fn a_failed_task_changes_nothing_here() {
    let desk = desk();
    desk.write("out", "before");
    sh(&desk, "$titan map -n0 -o out -s 'echo new > out; exit 3' ::: 1").expect(1);
    assert_eq!(read(&desk, "out"), "before");
    sh(&desk, "$titan map -n0 -o out -s 'echo new > out' ::: 1").expect(0);
    assert_eq!(read(&desk, "out"), "new\n");
    assert_eq!(sh(&desk, "ls -A").expect(0).text(), "in\nout\n");
}

#[test]
fn two_tasks_cannot_commit_one_path() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -j1 -o same -s 'echo {} > same' ::: a b").expect(1);
    assert!(outcome.stderr.contains("its output same is task 1's already"), "{}", outcome.stderr);
    assert_eq!(read(&desk, "same"), "a\n");
}

#[test]
fn outputs_that_lead_out_of_the_folder_are_refused() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -n0 -o out -s 'ln -s /etc/passwd out' ::: 1").expect(1);
    assert!(outcome.stderr.contains("the link 'out' leads to '/etc/passwd', out of its folder"), "{}", outcome.stderr);
    let outcome = sh(&desk, "$titan map -n0 -o l/passwd -s 'rmdir l; ln -s /etc l' ::: 1").expect(1);
    assert!(outcome.stderr.contains("this folder is a link that leads out of the task's own"), "{}", outcome.stderr);
    assert_eq!(sh(&desk, "ls -A").expect(0).text(), "");
}

#[test]
fn what_a_task_does_to_its_input_doesnt_reach_the_original() {
    let desk = desk();
    sh(&desk, "$titan map -i {} -s 'echo more >> {}; chmod 000 {}' ::: in/one.txt").expect(0);
    assert_eq!(read(&desk, "in/one.txt"), "one");
    assert_ne!(fs::metadata(desk.path("in/one.txt")).unwrap().permissions().mode() & 0o777, 0);
}

#[test]
fn a_folder_with_a_link_out_of_it_is_refused() {
    let desk = desk();
    symlink("../../secret", desk.path("in/out")).unwrap();
    let outcome = sh(&desk, "$titan map -n0 -i in ls ::: 1").expect(1);
    assert!(
        outcome.stderr.contains("its input 'in/out' is a link to '../../secret', out of what is sent"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_task_may_be_its_own_reader_from_a_given_file() {
    let desk = desk();
    assert_eq!(sh(&desk, "$titan map -n0 -i in/one.txt --stdin in/one.txt cat ::: 1").expect(0).text(), "one");
}

#[test]
fn a_folder_of_ones_own_and_files_dont_go_together() {
    let desk = desk();
    let outcome = sh(&desk, "$titan map --workdir . -i {} cat ::: in/one.txt").expect(2);
    assert!(outcome.stderr.contains("with -i, -o or --base tasks run in folders of their own"), "{}", outcome.stderr);
    assert_eq!(sh(&desk, "$titan map -n0 --wd ... -s 'ls -A | wc -l' ::: 1").expect(0).text(), "0\n");
}

#[test]
fn ten_thousand_files_are_given_and_given_back() {
    let desk = Desk::new();
    sh(&desk, "mkdir many; cd many; seq -f f%g 10000 | xargs touch").expect(0);
    sh(&desk, "$titan map -n0 -i many -o back -s 'cp -r many back' ::: 1").expect(0);
    assert_eq!(sh(&desk, "ls back | wc -l").expect(0).text(), "10000\n");
}

#[test]
fn an_output_that_has_no_place_here_ends_its_task_badly_and_the_rest_goes_on() {
    let desk = Desk::new();
    desk.write("full/inside", "x");
    let outcome = sh(&desk, "$titan map -j1 -o {} -s 'echo new > {}' ::: full other").expect(4);
    assert!(
        outcome.stderr.contains("task 1 on localhost: cannot write its output full: there is a folder"),
        "{}",
        outcome.stderr
    );
    assert_eq!((read(&desk, "other"), read(&desk, "full/inside")), ("new\n".to_owned(), "x".to_owned()));
    assert_eq!(sh(&desk, "ls -A").expect(0).text(), "full\nother\n");
}

#[test]
fn a_full_disk_here_takes_what_fits() {
    let desk = Desk::new();
    let mount = sh(&desk, "mkdir small && mount -t tmpfs -o size=1m none small");
    if skipped_for("a small disk needs root", if mount.code == 0 { Ok(()) } else { Err(mount.stderr) }) {
        return;
    }
    let script = "cd small; $titan map -j1 -o {}.out -s 'head -c {}00000 /dev/zero > {}.out' ::: 7 8 1; code=$?
        ls -A; cd ..; umount -l small; exit $code";
    let outcome = sh(&desk, script).expect(4);
    assert!(
        outcome.stderr.contains("task 2 on localhost: cannot write its output 8.out: No space left"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.text(), "1.out\n7.out\n");
}

#[test]
fn what_cannot_get_its_place_as_a_whole_replaces_nothing_and_leaves_no_folder() {
    let desk = Desk::new();
    desk.write("a", "old\n");
    desk.write("d", "old\n");
    let outcome =
        sh(&desk, "$titan map -n0 -o a -o n/m/f -o d -s 'echo new > a; echo x > n/m/f; mkdir d' ::: 1").expect(4);
    assert!(outcome.stderr.contains("cannot write its output d: there is a file"), "{}", outcome.stderr);
    assert_eq!((read(&desk, "a"), read(&desk, "d")), ("old\n".to_owned(), "old\n".to_owned()));
    assert_eq!(sh(&desk, "ls -A").expect(0).text(), "a\nd\n");
}
