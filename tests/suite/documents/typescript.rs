//! `web/frames.d.ts`: the types of all frames for TypeScript, made from the description of the socket.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use salon::http::documents::asyncapi;
use serde_json::Value;

use super::{run, seen, tool};
use crate::support::node::Folder;

const WRITE: &str = "SALON_WRITE_TYPES";
const HEAD: &str = "// What goes over the socket. Made from the program by its tests, not by hand; to write it anew:\n\
    // SALON_WRITE_TYPES=1 cargo test --features failpoints --test suite typescript\n";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web/frames.d.ts")
}

#[test]
fn the_types_are_those_of_the_program() {
    let types = types();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(file(), &types).expect("the file");
    }
    let stands = std::fs::read_to_string(file()).unwrap_or_default();
    let first = types.lines().zip(stands.lines()).find(|(made, stands)| made != stands);
    let how = "SALON_WRITE_TYPES=1 cargo test --features failpoints --test suite typescript";
    assert!(stands == types, "web/frames.d.ts is stale, first at {first:?}; write it anew: {how}");
}

/// By the compiler: the types hold together, take every example of the page, and refuse what is none.
#[test]
fn the_types_fit_the_examples() {
    let mut program = "import type { ClientFrame, ServerFrame } from './frames.js';\n".to_owned();
    for (number, example) in crate::docs::examples().into_iter().enumerate() {
        let kind = match (seen::is_heard(&example), seen::is_said(&example)) {
            (Ok(()), _) => "ServerFrame",
            (_, Ok(())) => "ClientFrame",
            _ => continue,
        };
        let _ = writeln!(program, "export const e{number}: {kind} = {example};");
    }
    assert!(program.lines().count() > 25, "{program}");
    program.push_str(
        "// @ts-expect-error: an unknown type\nexport const w1: ServerFrame = {type: 'unheard_of'};\n\
         // @ts-expect-error: a number is missing\nexport const w2: ServerFrame = {type: 'user_count', room: 'a'};\n\
         export function room(frame: ServerFrame): string {\n\
           switch (frame.type) {\n\
             case 'joined': return frame.info.slug + frame.messages.length;\n\
             case 'chat_message': return frame.room + frame.content;\n\
             case 'ack': return frame.room;\n\
             default: return frame.type;\n\
           }\n\
         }\n",
    );
    let folder = Folder::new("types");
    std::fs::write(folder.path().join("frames.d.ts"), types()).expect("a file");
    std::fs::write(folder.path().join("check.ts"), program).expect("a file");
    let options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "check.ts"];
    run(Command::new(tool("node_modules/.bin/tsc")).args(options).current_dir(folder.path()));
}

fn types() -> String {
    let mut types = HEAD.to_owned();
    for (name, schema) in asyncapi()["components"]["schemas"].as_object().expect("schemas") {
        types.push('\n');
        push_comment(&mut types, "", schema);
        let of = type_of(schema, "");
        let is_object = of.starts_with('{');
        let _ = if is_object {
            writeln!(types, "export interface {name} {of}")
        } else {
            writeln!(types, "export type {name} = {of};")
        };
    }
    types
}

fn type_of(schema: &Value, indent: &str) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    for (key, between) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(parts) = schema[key].as_array() {
            return parts.iter().map(|part| type_of(part, indent)).collect::<Vec<_>>().join(between);
        }
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let of = |kind: &Value| {
                let mut one = schema.clone();
                one["type"] = kind.clone();
                type_of(&one, indent)
            };
            kinds.iter().map(of).collect::<Vec<_>>().join(" | ")
        }
        Value::String(kind) => match kind.as_str() {
            "integer" | "number" => "number".to_owned(),
            "array" => format!("Array<{}>", type_of(&schema["items"], indent)),
            "object" => object(schema, indent),
            other => other.to_owned(),
        },
        _ => "unknown".to_owned(),
    }
}

fn object(schema: &Value, indent: &str) -> String {
    let Some(fields) = schema["properties"].as_object() else {
        return format!("Record<string, {}>", type_of(&schema["additionalProperties"], indent));
    };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let inner = format!("{indent}  ");
    let mut text = "{\n".to_owned();
    for (name, field) in fields {
        push_comment(&mut text, &inner, field);
        let mark = if required.iter().any(|known| known == name.as_str()) { "" } else { "?" };
        let _ = writeln!(text, "{inner}{name}{mark}: {};", type_of(field, &inner));
    }
    text + indent + "}"
}

fn push_comment(text: &mut String, indent: &str, schema: &Value) {
    if let Some(about) = schema["description"].as_str() {
        let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{indent}/** {about} */");
    }
}
