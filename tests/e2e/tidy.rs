//! The house keeps its order: who may name whom, and documents that say what the code does.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use filmgate::config::Config;

/// What each room may name of the others. Rooms that are not here may name nothing; `app.rs` and `main.rs` put everything together.
const ARROWS: [(&str, &[&str]); 15] = [
    (
        "door",
        &[
            "artifact",
            "callback",
            "chat",
            "config",
            "domain",
            "engine",
            "lifecycle",
            "outbound",
            "pb",
            "store",
            "telemetry",
        ],
    ),
    // Of `engine` how a file is asked for, and the reading of one.
    ("chat", &["artifact", "domain", "engine", "lifecycle", "provider", "store", "telemetry"]),
    ("engine", &["artifact", "domain", "failpoint", "lifecycle", "provider", "store", "telemetry"]),
    ("callback", &["config", "domain", "lifecycle", "outbound", "store", "telemetry"]),
    ("provider", &["domain", "failpoint", "outbound", "telemetry"]),
    ("store", &["domain"]),
    ("artifact", &["domain"]),
    ("domain", &[]),
    // A client of the contract; only `host`, `serve`, `check` and the arguments know of the server's own parts.
    ("cli", &["app", "config", "lifecycle", "pb", "simulator"]),
    ("simulator", &[]),
    ("lifecycle", &["config"]),
    ("telemetry", &["config"]),
    // Of `provider` the descriptors of vendors only, from which their settings are derived; of `domain` what a budget is.
    ("config", &["domain", "outbound", "provider"]),
    ("failpoint", &[]),
    ("outbound", &[]),
];

/// Crates that only these rooms may name: the contract's wire, SQL, and a vendor's HTTP are nobody else's business.
const CRATES: [(&str, &[&str]); 9] = [
    // The command line calls the contract as any client does.
    ("tonic", &["door", "cli"]),
    ("axum", &["door", "simulator"]),
    ("hyper", &["door", "simulator"]),
    ("rusqlite", &["store"]),
    ("tokio_postgres", &["store"]),
    ("object_store", &["artifact"]),
    ("reqwest", &["callback", "outbound", "provider", "simulator"]),
    ("opentelemetry", &["telemetry"]),
    ("prometheus", &["telemetry"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The room of a file, and its text without comments and without its tests, which may reach further.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let shipped = files.into_iter().filter_map(|file| {
        let inner = file.strip_prefix(&src).unwrap().to_owned();
        let room = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let is_test = inner.iter().any(|part| ["tests", "tests.rs", "fixture.rs"].map(Some).contains(&part.to_str()));
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (!is_test).then_some((room, inner, code))
    });
    shipped.collect()
}

/// The files below `src` that are no tests, each with its text.
pub(crate) fn shipped_sources() -> Vec<(PathBuf, String)> {
    rooms().into_iter().map(|(_, file, code)| (file, code)).collect()
}

/// The rooms that a text names: `crate::room`, and `use crate::{room::…, …}`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut named = BTreeSet::new();
    for (at, mark) in code.match_indices("crate::") {
        // `$crate::`, `my_crate::`
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + mark.len()..];
        match rest.strip_prefix('{') {
            None => drop(named.insert(word(rest))),
            Some(group) => named.extend(members(group).map(|member| word(member.trim_start()))),
        }
    }
    named
}

/// The members of a group after its opening brace, without those of groups within.
fn members(group: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(&group[from..at]);
                from = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.into_iter().filter(|member| !member.trim().is_empty())
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn groups_of_names_are_read_like_single_ones() {
    let code =
        "use crate::{\n    artifact::{self, Blobs},\n    domain::names::Id,\n};\nuse crate::engine;\ncrate::store::x()";
    let expected = ["artifact", "domain", "engine", "store"].map(str::to_owned);
    assert_eq!(named_rooms(code), BTreeSet::from(expected));
    assert!(names_crate("use tonic::Status;", "tonic") && names_crate("(tonic::Code)", "tonic"));
    assert!(!names_crate("use my_tonic::Status;", "tonic") && !names_crate("x::tonic::y", "tonic"));
}

#[test]
fn every_arrow_of_the_house_points_inwards() {
    let mut wrong = Vec::new();
    for (room, file, code) in rooms() {
        if ["app", "main", "lib", "pb"].contains(&room.as_str()) {
            continue;
        }
        let allowed = ARROWS.iter().find(|(of, _)| *of == room).map_or(&[][..], |(_, allowed)| allowed);
        for named in named_rooms(&code) {
            if named != room && !allowed.contains(&named.as_str()) {
                wrong.push(format!(
                    "src/{} names crate::{named}; {room} may name: {}",
                    file.display(),
                    allowed.join(", ")
                ));
            }
        }
        for (name, may) in CRATES {
            if names_crate(&code, name) && !may.contains(&room.as_str()) {
                wrong.push(format!("src/{} names {name}, which only {} may", file.display(), may.join(" and ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn settings_know_vendors_by_their_descriptors_alone() {
    let wrong: Vec<String> = rooms()
        .into_iter()
        .filter(|(room, _, code)| {
            let mut of_provider = code.match_indices("provider::").map(|(at, mark)| &code[at + mark.len()..]);
            room == "config" && of_provider.any(|inner| !inner.starts_with("vendor::"))
        })
        .map(|(_, file, _)| file.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "of provider, config may name vendor alone: {wrong:?}");
}

#[test]
fn the_command_line_knows_the_servers_own_parts_in_few_places() {
    let own = ["app", "lifecycle"];
    let wrong: Vec<String> = rooms()
        .into_iter()
        .filter(|(room, file, code)| {
            let knows = named_rooms(code).iter().any(|named| own.contains(&named.as_str()));
            room == "cli" && knows && !["cli/host.rs", "cli/connect.rs"].contains(&file.to_str().unwrap())
        })
        .map(|(_, file, _)| file.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "only host.rs and connect.rs of the command line may start a server: {wrong:?}");
}

#[test]
fn the_readme_lists_every_setting_as_it_is() {
    const MARKS: (&str, &str) = ("<!-- settings -->", "<!-- /settings -->");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once(MARKS.0).expect("README.md marks where settings are listed");
    let (section, _) = rest.split_once(MARKS.1).expect("README.md marks where the list of settings ends");
    let expected = settings_table();
    assert!(
        section.trim() == expected.trim(),
        "put this between {} and {} of README.md:\n\n{expected}",
        MARKS.0,
        MARKS.1
    );
}

fn settings_table() -> String {
    let mut table = "| key in `filmgate.toml` | flag | environment | meaning |\n|---|---|---|---|\n".to_owned();
    for setting in Config::settings_table() {
        let variables: Vec<String> = setting.env.iter().map(|name| format!("`{name}`")).collect();
        // `config` and whatever else cannot stand in the file itself.
        let key = if setting.key == "config" { String::new() } else { format!("`{}`", setting.key) };
        let help = setting.help.replace('|', "\\|");
        table.push_str(&format!("| {key} | `{}` | {} | {help} |\n", setting.flag, variables.join(", ")));
    }
    table
}
