use super::*;
use crate::{
    domain::{artifact::Kind, failure::Charged},
    provider::{
        comfyui::map::{self, Place},
        port::{RemoteOutput, Status},
        tests::{
            failures::mean_what_they_say,
            server::{Asked, Reply},
        },
    },
};

fn base() -> Url {
    Url::parse("http://127.0.0.1:8188/comfy").unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a test's literal")]
fn files(kind: Option<Kind>, outputs: Json) -> Vec<String> {
    let progress = map::ended(&id_of(COMFYUI).unwrap(), &base(), kind, &succeeded(JOB, &outputs)).unwrap();
    let Status::Done(outputs) = progress.status else { panic!("{progress:?}") };
    let link = |output: RemoteOutput| match output {
        RemoteOutput::Link(url) => url.as_str().strip_prefix("http://127.0.0.1:8188/comfy/view?").unwrap().to_owned(),
        RemoteOutput::Inline(_) => panic!("a link"),
    };
    outputs.into_iter().map(link).collect()
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    // Before the history the queue is asked, which is empty.
    let prelude = |asked: &Asked| {
        let empty = json!({ "queue_running": [], "queue_pending": [] });
        asked.line.ends_with("/queue").then(|| Reply::json(200, &empty))
    };
    let n_failures = mean_what_they_say(COMFYUI, comfyui, prelude).await;
    assert!(n_failures >= 20, "{n_failures}");
}

#[test]
fn the_files_of_every_kind_of_node_are_found_in_order() {
    let file = |name: &str, kind: &str| json!({ "filename": name, "subfolder": "", "type": kind });
    let video = json!({ "9": { "images": [file("a b.mp4", "output")], "animated": [true] } });
    assert_eq!(files(Some(Kind::Video), video), ["filename=a+b.mp4&subfolder=&type=output"]);
    let gifs = json!({ "9": { "gifs": [{ "filename": "a.mp4", "subfolder": "x/y", "type": "output", "format": "video/h264-mp4", "frame_rate": 8.0 }] } });
    assert_eq!(files(Some(Kind::Video), gifs), ["filename=a.mp4&subfolder=x%2Fy&type=output"]);
    let sound = json!({ "9": { "audio": [file("a.flac", "output")] } });
    assert_eq!(files(Some(Kind::Music), sound).len(), 1);
    // By number, not by text; previews and other kinds are left out.
    let several = json!({
        "10": { "images": [file("2.png", "output"), file("3.png", "output")] }, "9": { "images": [file("1.png", "output")] },
        "2": { "images": [file("preview.png", "temp")] }, "11": { "video": [file("x.mp4", "output")], "text": ["hi"] },
    });
    let names: Vec<String> = files(Some(Kind::Image), several).into_iter().map(|it| it[..14].to_owned()).collect();
    assert_eq!(names, ["filename=1.png", "filename=2.png", "filename=3.png"]);
    let preview =
        json!({ "2": { "images": [file("p.png", "temp"), file("p.png", "temp"), null, { "filename": null }] } });
    assert_eq!(files(None, preview), ["filename=p.png&subfolder=&type=temp"]);
    // Nothing of the ordered kind: what there is.
    let still = json!({ "9": { "images": [file("a.webp", "output")] } });
    assert_eq!(files(Some(Kind::Video), still).len(), 1);
}

#[test]
fn files_are_found_however_a_node_tells_of_them() {
    let file = |name: &str, kind: Json| json!({ "filename": name, "subfolder": null, "type": kind, "fullpath": 7 });
    let alone = json!({ "9": { "video": file("a.mp4", json!("output")), "text": "done", "seed": 7, "ui": null } });
    assert_eq!(files(Some(Kind::Video), alone), ["filename=a.mp4&subfolder=&type=output"]);
    let nested = json!({ "9": { "images": [[file("a.PNG", json!(null))], []] }, "x": null, "y": ["text"] });
    assert_eq!(files(Some(Kind::Image), nested), ["filename=a.PNG&subfolder=&type=output"]);
    // A workflow that saves a poster and only previews its video.
    let poster =
        json!({ "1": { "images": [file("p.png", json!("output"))] }, "2": { "gifs": [file("v.mp4", json!("temp"))] } });
    assert_eq!(files(Some(Kind::Video), poster), ["filename=v.mp4&subfolder=&type=temp"]);
    let scene = json!({ "1": { "3d": [file("m.glb", json!("output"))], "audio": [file("a.opus", json!("output"))] } });
    assert_eq!(files(Some(Kind::Speech), scene), ["filename=a.opus&subfolder=&type=output"]);
}

#[test]
fn an_end_is_read_in_the_forms_of_every_version() {
    let end = |entry: Json| map::ended(&id_of(COMFYUI).unwrap(), &base(), None, &entry).unwrap().status;
    let error = json!({ "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError", "exception_message": "no memory\n" });
    let graph = json!({ "3": { "class_type": "KSampler", "inputs": {} } });
    for (messages, prompt) in [
        (json!([["execution_start", {}], ["execution_error", error]]), json!([1, JOB, graph, {}, []])),
        (
            json!([{ "type": "execution_error", "data": error }, null, [], 7]),
            json!({ "prompt": graph, "prompt_id": JOB }),
        ),
    ] {
        for status in [json!("error"), json!("Error"), json!("failed")] {
            let status = json!({ "status_str": status, "completed": false, "messages": messages });
            let Status::Failed(failure) = end(json!({ "prompt": prompt, "outputs": {}, "status": status })) else {
                panic!("{status}")
            };
            assert_eq!(failure.message, "KSampler: no memory (torch.OutOfMemoryError)");
            assert!(failure.retryable);
        }
    }
    let stopped = [
        json!({ "status_str": "error", "completed": false, "messages": [["execution_interrupted", { "node_id": "3" }]] }),
        json!({ "completed": false, "messages": [{ "type": "execution_interrupted", "data": {} }] }),
        json!({ "status_str": "interrupted", "completed": false, "messages": null }),
        json!({ "status_str": "cancelled" }),
    ];
    for status in stopped {
        let ended = end(json!({ "outputs": null, "status": status }));
        assert!(matches!(ended, Status::Cancelled(Charged::No)), "{status}: {ended:?}");
    }
    let silent = end(json!({ "outputs": {}, "status": { "status_str": "error", "messages": {} } }));
    assert!(matches!(silent, Status::Failed(failure) if failure.message == "failed without saying why"));
}

#[test]
fn a_queue_of_names_is_read_as_one_of_places() {
    let item = |number: Json, id: &str| json!({ "number": number, "prompt_id": id, "prompt": { "3": {} }, "extra_data": { "client_id": id } });
    let queue = json!({ "queue_running": [item(json!(1), "run")], "queue_pending": [item(json!(3), "b"), item(json!(2), "a")] });
    assert!(matches!(map::place(&queue, "run"), Place::Running(graph) if graph["3"].is_object()));
    assert_eq!((map::place(&queue, "a"), map::place(&queue, "b")), (Place::Pending(1), Place::Pending(2)));
}

#[test]
fn a_place_in_the_queue_goes_by_number_and_not_by_the_heap() {
    let item = |number: Json, id: &str| json!([number, id, { "3": {} }, { "client_id": id }, ["9"]]);
    let queue = json!({
        "queue_running": [item(json!(1), "run")],
        "queue_pending": [item(json!(2), "a"), item(json!(9.0), "c"), item(json!(3), "b"), [], null],
    });
    assert!(matches!(map::place(&queue, "run"), Place::Running(graph) if graph["3"].is_object()));
    assert_eq!(map::place(&queue, "b"), Place::Pending(2));
    assert_eq!(map::place(&queue, "c"), Place::Pending(3));
    for odd in [json!({}), json!(null), json!({ "queue_running": null, "queue_pending": {} })] {
        assert_eq!(map::place(&odd, "a"), Place::Absent);
    }
}

/// A recorded answer; of a history the entry of our job.
fn fixture(name: &str) -> Json {
    let file = format!("{}/tests/fixtures/comfyui/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let answer: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    answer.get(JOB).cloned().unwrap_or(answer)
}

#[test]
fn every_end_on_file_is_read() {
    let check = |name: &str, kind: Kind, expected: &[&str], seconds: Option<f64>| {
        let progress = map::ended(&id_of(COMFYUI).unwrap(), &base(), Some(kind), &fixture(name)).unwrap();
        assert_eq!(progress.usage.compute_seconds, seconds, "{name}");
        let Status::Done(outputs) = progress.status else { panic!("{name}: {:?}", progress.status) };
        let names: Vec<String> = outputs
            .iter()
            .map(|output| match output {
                RemoteOutput::Link(url) => {
                    url.query_pairs().map(|(_, value)| value.into_owned()).collect::<Vec<_>>().join(" ")
                }
                RemoteOutput::Inline(_) => panic!("a link"),
            })
            .collect();
        assert_eq!(names, expected, "{name}");
    };
    check("succeeded_images", Kind::Image, &["job77_00001_.png  output", "job77_00002_.png  output"], Some(8.9));
    check("succeeded_video", Kind::Video, &["job77_00001_.mp4 video output"], Some(8.9));
    check("succeeded_gifs", Kind::Video, &["a_00001.mp4  output"], Some(8.9));
    check("succeeded_audio", Kind::Music, &["a_00001_.flac  output"], Some(8.9));
    check("succeeded_preview", Kind::Image, &["ComfyUI_temp_1.png  temp"], Some(8.9));
    check("succeeded_odd", Kind::Image, &["a.png  output"], None);
    check("succeeded_old", Kind::Image, &["a.png  output"], None);
    let stopped = map::ended(&id_of(COMFYUI).unwrap(), &base(), None, &fixture("interrupted")).unwrap();
    assert!(matches!(stopped.status, Status::Cancelled(Charged::No)));
    assert_eq!(map::place(&fixture("queue"), JOB), Place::Pending(1));
    assert_eq!(map::place(&fixture("queue_empty"), JOB), Place::Absent);
}
