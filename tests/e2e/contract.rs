//! The whole contract, pinned: whoever changes it changes this snapshot, and sees by it what a client would notice.

use std::fmt::Write;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};

#[test]
fn services_messages_and_numbers_are_what_clients_were_made_for() {
    let pool = DescriptorPool::decode(filmgate::pb::DESCRIPTOR_SET).unwrap();
    let mut text = String::new();
    for file in pool.files().filter(|file| file.package_name().starts_with("filmgate")) {
        writeln!(text, "file {}\n", file.name()).unwrap();
        file.services().for_each(|service| write_service(&service, &mut text));
        file.messages().for_each(|message| write_message(&message, &mut text));
        file.enums().for_each(|one| write_enum(&one, &mut text));
    }
    insta::assert_snapshot!("contract", text.trim_end());
}

#[test]
fn every_call_has_a_path_for_http() {
    let pool = DescriptorPool::decode(filmgate::pb::DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.full_name().starts_with("filmgate."));
    let methods: Vec<MethodDescriptor> = ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(methods.len() >= 30, "{}", methods.len());
    let without: Vec<&str> =
        methods.iter().filter(|one| http_rule(one).is_empty()).map(|one| one.full_name()).collect();
    assert!(without.is_empty(), "these need the option google.api.http: {without:?}");
    for method in &methods {
        // `/v1/` belongs to the paths of OpenAI.
        assert!(http_rule(method).contains(": \"/api/v1/"), "{}: {}", method.full_name(), http_rule(method));
    }
}

/// The option `google.api.http` of a call as text; empty if it has none.
fn http_rule(method: &MethodDescriptor) -> String {
    let http = method.parent_pool().get_extension_by_name("google.api.http").unwrap();
    let options = method.options();
    if !options.has_extension(&http) {
        return String::new();
    }
    match options.get_extension(&http).as_ref() {
        Value::Message(rule) => {
            rule.fields().map(|(field, value)| format!("{}: {value}", field.name())).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}

fn write_service(service: &ServiceDescriptor, text: &mut String) {
    writeln!(text, "service {}", service.full_name()).unwrap();
    for method in service.methods() {
        let stream = |is_stream| if is_stream { "stream " } else { "" };
        let (input, output) = (method.input(), method.output());
        let (from, to) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
        writeln!(text, "  {}({from}{}) returns ({to}{})", method.name(), input.name(), output.name()).unwrap();
        writeln!(text, "    {}", http_rule(&method)).unwrap();
    }
    text.push('\n');
}

fn write_message(message: &MessageDescriptor, text: &mut String) {
    writeln!(text, "message {}", message.full_name()).unwrap();
    message.fields().for_each(|field| write_field(&field, text));
    text.push('\n');
    for child in message.child_messages().filter(|child| !child.is_map_entry()) {
        write_message(&child, text);
    }
    message.child_enums().for_each(|child| write_enum(&child, text));
}

fn write_field(field: &FieldDescriptor, text: &mut String) {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let label = match oneof {
        Some(oneof) => format!("oneof {} ", oneof.name()),
        None if field.is_map() => "map ".to_owned(),
        None if field.is_list() => "repeated ".to_owned(),
        None if field.field_descriptor_proto().proto3_optional() => "optional ".to_owned(),
        None => String::new(),
    };
    writeln!(text, "  {} {label}{:?} {}", field.number(), field.kind(), field.name()).unwrap();
}

fn write_enum(one: &EnumDescriptor, text: &mut String) {
    writeln!(text, "enum {}", one.full_name()).unwrap();
    for value in one.values() {
        writeln!(text, "  {} {}", value.number(), value.name()).unwrap();
    }
    text.push('\n');
}
