//! The contract's own example, what each rule refuses, and that no text makes it panic. The words of refusals are kept by the
//! tests of the whole program.

use proptest::prelude::*;

use titan_manager::Capacity;

use super::*;

pub(super) const FILM: &str = r#"
name = "film"
[defaults]
retries = 1
timeout = "10m"
[[job]]
name = "frame"
kernel = "mandelbrot"
array = { n = { range = [1, 120] }, w = { geometric = [3.0, 0.004], count = 120 } }
link = true
params = { center = "-0.746,0.102", width = "{w}", size = "1920x1080", iterations = 2000 }
outputs = ["frames/{n:04}.png"]
[[job]]
name = "stamp"
command = ["./stamp.sh", "frames/{n:04}.png", "stamped/{n:04}.png"]
array = { n = { range = [1, 120] } }
after = [{ job = "frame", each = true }]
inputs = ["stamp.sh", "frames/{n:04}.png"]
outputs = ["stamped/{n:04}.png"]
memory = "512MiB"
[[job]]
name = "sound"
shell = "sox {wav} -r {rate} snd/{wav/.}-{rate}-{lang}.flac"
array = { wav = { glob = "sound/*.wav" }, rate = [44100, 48000], lang = { lines = "langs.txt" } }
inputs = ["{wav}"]
outputs = ["snd/{wav/.}-{rate}-{lang}.flac"]
where = "os=linux,audio"
[[job]]
name = "join"
shell = "ffmpeg -y -i stamped/%04d.png -i $(ls snd/*.flac | head -1) film.mp4"
inputs = [{ job = "stamp" }, { job = "sound" }]
outputs = ["film.mp4"]
cpus = 4
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sound")).unwrap();
    for name in ["sound/b.wav", "sound/a.wav", "stamp.sh"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::fs::write(folder.path().join("langs.txt"), "en\n\nde\nfr").unwrap();
    folder
}

fn read_text_in(folder: &Path, text: &str) -> Result<BatchFile, String> {
    parse(&folder.join("b.toml"), "b.toml", text, &Surroundings::default()).map_err(|error| error.to_string())
}

/// The messages of what is wrong.
fn refused(text: &str) -> String {
    let folder = folder();
    match read_text_in(folder.path(), text) {
        Ok(_) => panic!("nothing is wrong with: {text}"),
        Err(error) => error,
    }
}

#[track_caller]
fn assert_refused(text: &str, said: &str) {
    let error = refused(text);
    assert!(error.contains(said), "no '{said}' in:\n{error}");
}

#[test]
fn the_example_of_the_contract_is_read() {
    let folder = folder();
    let file = read_text_in(folder.path(), FILM).unwrap();
    let counts: Vec<(&str, u64)> = file.jobs.iter().map(|job| (job.name.as_str(), job.count())).collect();
    assert_eq!(counts, [("frame", 120), ("stamp", 120), ("sound", 12), ("join", 1)]);
    let sound = &file.jobs[2];
    let value = |index| sound.values(index).iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let (first, last): (Vec<String>, Vec<String>) = (value(0), value(11));
    assert_eq!(first, ["sound/a.wav", "44100", "en"]);
    assert_eq!(last, ["sound/b.wav", "48000", "fr"]);
    let join = &file.jobs[3];
    assert_eq!(join.after.iter().map(|after| (after.job, after.each)).collect::<Vec<_>>(), [(1, false), (2, false)]);
    assert_eq!((join.cpus, join.retries, join.timeout), (Some(4), Some(1), Some(Duration::from_secs(600))));
}

#[test]
fn jobs_come_after_those_that_they_wait_for() {
    let text = "[[job]]\nname = 'z'\nshell = 'x'\nafter = ['a']\n[[job]]\nname = 'a'\nshell = 'x'\n";
    let file = read_text_in(Path::new("."), text).unwrap();
    assert_eq!(file.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["a", "z"]);
    assert_eq!(file.jobs[1].after[0].job, 0);
}

/// It ends: what is looked at for each job doesn't grow with the square of their number.
#[test]
fn a_long_chain_of_jobs_is_read() {
    let job = |number: u32| {
        let after = if number == 0 { String::new() } else { format!("after = ['j{}']\n", number - 1) };
        format!("[[job]]\nname = 'j{number}'\nshell = 'true'\n{after}inputs = ['stamp.sh']\noutputs = ['o{number}']\n")
    };
    let text: String = (0..2_000).map(job).collect();
    let file = read_text_in(folder().path(), &text).unwrap();
    assert_eq!(file.jobs.len(), 2_000);
}

#[test]
fn a_job_has_one_thing_to_run() {
    assert_refused("[[job]]\nname = 'a'", "a job needs something to run");
    assert_refused("[[job]]\nname = 'a'\nshell = 'x'\ncommand = ['x']", "a job has only one of command and shell");
    assert_refused("[[job]]\nname = 'a'\ncommand = []", "a command needs a program");
    assert_refused("[[job]]\nname = 'a'\nshell = 'x'\nparams = {}", "params are a kernel's");
}

#[test]
fn a_kernels_job_is_checked_against_the_kernel() {
    assert_refused("[[job]]\nname = 'a'\nkernel = 'mandelbort'", "did you mean 'mandelbrot'?");
    let text = "[[job]]\nname = 'a'\nkernel = 'mandelbrot'\nparams = { widht = 1 }\noutputs = ['x']";
    assert_refused(text, "did you mean 'width'?");
    assert_refused("[[job]]\nname = 'a'\nkernel = 'mandelbrot'", "has one output, and this has 0");
}

#[test]
fn names_are_letters_and_digits_and_differ() {
    assert_refused("[[job]]\nname = '1a'\nshell = 'x'", "'1a' can't name a job");
    assert_refused("[[job]]\nname = 'a'\nshell = 'x'\n[[job]]\nname = 'a'\nshell = 'y'", "there are two jobs 'a'");
    assert_refused("[[job]]\nshell = 'x'", "a job needs a name");
}

#[test]
fn sets_that_make_no_sense_are_refused() {
    let job = |set: &str| format!("[[job]]\nname = 'a'\nshell = 'x {{n}}'\narray = {{ n = {set} }}");
    for (set, said) in [
        ("5", "a set is an array or a table"),
        ("[[1]]", "a value of a set is a string or a number"),
        ("{}", "exactly one of range"),
        ("{ range = [1, 2], glob = '*' }", "exactly one of range"),
        ("{ range = [1.5, 2] }", "two whole numbers"),
        ("{ range = [1, 9], step = -1 }", "step can't lead from 1 to 9"),
        ("{ linear = [1, 2] }", "linear needs a count"),
        ("{ geometric = [0, 2], count = 3 }", "of one sign"),
        ("{ glob = '*.none' }", "no file matches *.none"),
        ("{ lines = 'none' }", "cannot read none"),
        ("{ rnage = [1, 2] }", "did you mean 'range'?"),
    ] {
        assert_refused(&job(set), said);
    }
    assert_refused("[[job]]\nname = 'a'\nshell = 'x'\narray = { N = [1] }", "'N' can't name an axis");
    let linked = "[[job]]\nname = 'a'\nshell = 'x'\nlink = true\narray = { n = [1], m = [1, 2] }";
    assert_refused(linked, "linked axes must be of one length: n has 1, m has 2");
}

#[test]
fn what_waits_and_what_is_waited_for_must_fit() {
    let two = |after: &str| {
        format!("[[job]]\nname = 'a'\nshell = 'x'\narray = {{ n = [1, 2] }}\n[[job]]\nname = 'b'\nshell = 'y'\n{after}")
    };
    assert_refused(&two("after = ['aa']"), "there is no job 'aa'");
    assert_refused(&two("after = [{ job = 'a', each = true }]"), "'a' has 2 tasks and 'b' has 1");
    assert_refused(&two("after = [{ job = 'a', when = 'soon' }]"), "is none of them");
    assert_refused(&two("after = [{ each = true }]"), "an entry of after names a job");
    let cycle = "[[job]]\nname = 'a'\nshell = 'x'\nafter = ['b']\n[[job]]\nname = 'b'\nshell = 'x'\nafter = ['a']";
    assert_refused(cycle, "these jobs wait for each other: a after b after a");
    assert_refused("[[job]]\nname = 'a'\nshell = 'x'\nafter = ['a']", "these jobs wait for each other: a after a");
}

#[test]
fn files_that_two_make_or_nobody_makes_are_refused() {
    let array = "[[job]]\nname = 'a'\nshell = 'x {n}'\narray = { n = [1, 2] }\n";
    assert_refused(&format!("{array}outputs = ['out']"), "task 1 of 'a' and task 2 of 'a' have the same output out");
    let two = format!("{array}outputs = ['o{{n}}']\n[[job]]\nname = 'b'\nshell = 'y'\n");
    assert_refused(&format!("{two}inputs = ['o1']"), "'o1' is made by 'a', which isn't waited for");
    assert_refused(&format!("{two}inputs = ['o3']"), "'o3' isn't there, and no job makes it");
    assert_refused(&format!("{two}inputs = ['/etc/hosts']"), "outside of the current folder");
    let folder = folder();
    assert!(read_text_in(folder.path(), &format!("{two}inputs = ['o1', 'stamp.sh']\nafter = ['a']")).is_ok());
}

#[test]
fn what_is_given_may_be_a_part_of_what_another_makes_or_hold_it() {
    let made = "[[job]]\nname = 'a'\nshell = 'x {n}'\narray = { n = [1, 2] }\noutputs = ['e/{n}']\n";
    let given = |keys: &str| format!("{made}[[job]]\nname = 'b'\nshell = 'y'\n{keys}");
    let folder = folder();
    for keys in
        ["inputs = ['e/2/deep/file']", "inputs = ['e']", "inputs = ['e/*']", "stdin = 'e/1'", "inputs = ['./e//1']"]
    {
        let waits = given(&format!("{keys}\nafter = ['a']"));
        assert!(read_text_in(folder.path(), &waits).is_ok(), "{keys}: {:?}", read_text_in(folder.path(), &waits).err());
        assert_refused(&given(keys), "is made by 'a', which isn't waited for");
    }
    assert_refused(&given("stdin = 'nowhere'"), "'nowhere' isn't there, and no job makes it");
    assert_refused(&given("outputs = ['./e//2']"), "have the same output e/2");
}

#[test]
fn a_file_from_anywhere_gets_the_name_that_it_is_given_if_that_is_one() {
    let job = |to: &str| format!("[[job]]\nname = 'a'\nshell = 'x'\ninputs = [{{ from = '/etc/hosts', to = '{to}' }}]");
    let folder = folder();
    read_text_in(folder.path(), &job("h/osts")).unwrap();
    for to in ["../x", ".", "/x", ""] {
        assert_refused(&job(to), "no path below the task's folder");
    }
}

#[test]
fn what_a_job_makes_itself_or_later_is_nothing_to_wait_for() {
    let folder = folder();
    let one = |keys: &str| format!("[[job]]\nname = 'b'\nshell = 'y'\n{keys}\n");
    for keys in [
        "inputs = ['*.txt']\noutputs = ['all.txt']",
        "inputs = ['langs.txt']\noutputs = ['langs.txt']",
        "inputs = ['sound']\noutputs = ['sound/out.csv']",
    ] {
        read_text_in(folder.path(), &one(keys)).unwrap();
    }
    let later = "[[job]]\nname = 'c'\nshell = 'z'\nafter = ['b']\noutputs = ['sound/sum.csv']\n";
    read_text_in(folder.path(), &[&one("inputs = ['sound']"), later].concat()).unwrap();
    let waits = "[[job]]\nname = 'a'\nshell = 'x {n}'\narray = { n = [1, 2] }\noutputs = ['r{n}.txt']\n";
    for _ in 0..20 {
        let keys = "after = ['a']\ninputs = ['*.txt']\noutputs = ['sum.txt']";
        read_text_in(folder.path(), &[waits, &one(keys)].concat()).unwrap();
    }
}

#[test]
fn a_file_of_values_without_end_is_refused() {
    let job = |set: &str| format!("[[job]]\nname = 'a'\nshell = 'x'\narray = {{ n = {set} }}");
    assert_refused(&job("{ lines = '/dev/zero' }"), "is longer than 512");
    assert_refused(&job("[\"a\\u0000b\"]"), "a NUL byte in a value");
}

#[test]
fn every_cycle_is_told() {
    let job = |name: &str, after: &str| format!("[[job]]\nname = '{name}'\nshell = 'x'\nafter = ['{after}']\n");
    let text = [job("a", "b"), job("b", "a"), job("self", "self"), job("c", "d"), job("d", "c")].concat();
    for cycle in ["a after b after a", "self after self", "c after d after c"] {
        assert_refused(&text, cycle);
    }
}

#[test]
fn a_program_that_lies_here_and_is_not_given_is_refused() {
    let job = |keys: &str| format!("[[job]]\nname = 'a'\ncommand = ['./stamp.sh']\n{keys}");
    assert_refused(
        &job("outputs = ['x']"),
        "'./stamp.sh' is a file here, but tasks of 'a' run in folders of their own",
    );
    let folder = folder();
    for keys in ["", "outputs = ['x']\ninputs = ['stamp.sh']", "outputs = ['x']\ninputs = ['*.sh']"] {
        read_text_in(folder.path(), &job(keys)).unwrap();
    }
}

#[test]
fn what_is_wrong_with_one_job_hides_nothing_of_others() {
    let text = "[[job]]\nname = 'a'\nshell = 'x'\nfoo = 1\noutputs = ['o']\n[[job]]\nname = 'b'\nshell = 'x {f}'\n\
                array = { f = { glob = 'no*' } }\n[[job]]\nname = 'c'\nshell = 'x'\nafter = ['d']\n\
                [[job]]\nname = 'd'\nshell = 'x'\nafter = ['c']\ninputs = ['o']\nworkdir = '/tmp'";
    for words in ["unknown key 'foo'", "no file matches no*", "wait for each other: c after d", "files and a workdir"] {
        assert_refused(text, words);
    }
    let folder = folder();
    let told = read_text_in(folder.path(), text).unwrap_err().to_string();
    assert!(!told.contains("is no axis") && !told.contains("nobody makes"), "{told}");
}

#[test]
fn more_tasks_than_anybody_means_need_a_yes() {
    let text = "[[job]]\nname = 'a'\nshell = 'x'\narray = { n = { range = [1, 4000] }, m = { range = [1, 4000] } }";
    assert_refused(text, "if that is meant, say --yes");
    let yes = Surroundings { yes: true, ..Surroundings::default() };
    assert!(parse(Path::new("b.toml"), "b.toml", text, &yes).is_ok());
}

fn host(name: &str, resources: &[(&str, u32)], labels: &[&str]) -> KnownHost {
    let resources = resources.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let labels = labels.iter().map(|label| ((*label).to_owned(), String::new()));
    let labels = labels.chain([("name".to_owned(), name.to_owned())]).collect();
    let capacity = Capacity { slots: 2, cores: 4, memory_bytes: 1 << 30, resources, labels };
    KnownHost { capacity, is_here: false }
}

#[test]
fn a_request_that_no_host_can_meet_is_refused() {
    let hosts = vec![host("one", &[("gpu", 2)], &[]), host("two", &[], &["audio"])];
    let surroundings = Surroundings { hosts, ..Surroundings::default() };
    let check = |keys: &str| {
        let text = format!("[[job]]\nname = 'a'\nshell = 'x'\n{keys}");
        parse(Path::new("b.toml"), "b.toml", &text, &surroundings).map(drop).map_err(|error| error.to_string())
    };
    for (keys, refusals) in [
        ("cpus = 64\nmemory = '1TiB'", &["no host has 64 cores", "no host has 1.0 TiB", "the largest has 4"][..]),
        ("resources = { gpu = 3 }", &["no host has 3 of 'gpu'", "the largest has 2"]),
        ("where = 'name=three'", &["no host has these labels"]),
        ("resources = { gpu = 1 }\nwhere = 'audio'", &["no host has all that a task of 'a' asks for"]),
    ] {
        let error = check(keys).unwrap_err();
        assert!(refusals.iter().all(|refusal| error.contains(refusal)), "{error}");
    }
    // Which system a host has isn't known before it is asked.
    for keys in ["cpus = 4\nmemory = '1GiB'", "where = 'os=linux,audio'", "where = '!audio'\nresources = { gpu = 2 }"] {
        assert_eq!(check(keys), Ok(()), "{keys}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,200}") {
        let _ = read_text_in(Path::new("."), &text);
    }

    #[test]
    fn no_change_of_the_example_makes_it_panic(at in 0..FILM.len(), length in 0..40_usize, other in "[ -~\n]{0,12}") {
        let end = (at + length).min(FILM.len());
        if FILM.is_char_boundary(at) && FILM.is_char_boundary(end) {
            let text = [&FILM[..at], &other, &FILM[end..]].concat();
            // Arrays of a changed example may be as large as numbers are.
            let _ = read_text_in(Path::new("."), &text);
        }
    }
}
