//! The socket's protocol: a message for every type of frame, its schema that of the type which is encoded.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::model::ChangeKind;
use crate::protocol::frames::{ChangeText, Joined, ServerFrame};
use crate::protocol::said::ClientFrame;

/// Names of schemas of what either side says.
const CLIENT: &str = "Client";
const SERVER: &str = "Server";

type Schemas = Map<String, Value>;

pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut messages = Map::new();
    add_all::<ClientFrame>(&mut schemas);
    add_all::<ServerFrame<'_>>(&mut schemas);
    add_all::<Joined<'_>>(&mut schemas);
    add_all::<ChangeText<'_>>(&mut schemas);
    let said = split::<ClientFrame>(CLIENT, &mut schemas, &mut messages);
    let mut heard = split::<ServerFrame<'_>>(SERVER, &mut schemas, &mut messages);
    complete_joined(&mut schemas);
    let changes = [ChangeKind::Created, ChangeKind::Edited, ChangeKind::Deleted, ChangeKind::Reacted];
    let by_hand = changes.map(|kind| (kind.as_str(), ChangeText::name()));
    for (name, schema) in by_hand.into_iter().chain([("joined", Joined::name())]) {
        heard.push(add_message(SERVER, name, &schema, &mut messages));
    }
    let union = |of: &[String]| -> Value {
        let mut refs: Vec<&Value> = of.iter().filter_map(|key| messages.get(key)).map(|m| &m["payload"]).collect();
        refs.dedup();
        json!({"oneOf": refs})
    };
    let (any_said, any_heard) = (union(&said), union(&heard));
    schemas.insert(ClientFrame::name().into_owned(), any_said);
    schemas.insert(ServerFrame::name().into_owned(), any_heard);

    let channel_messages: Map<String, Value> =
        messages.keys().map(|key| (key.clone(), json!({"$ref": format!("#/components/messages/{key}")}))).collect();
    let operation = |action: &str, channel: &str, of: &[String]| {
        let messages: Vec<Value> =
            of.iter().map(|key| json!({"$ref": format!("#/channels/{channel}/messages/{key}")})).collect();
        json!({"action": action, "channel": {"$ref": format!("#/channels/{channel}")}, "messages": messages})
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "salon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Live chat: one JSON object a text frame. Accounts, rooms and history are asked for over HTTP \
                (/api/openapi.json). Event streams carry the same frames, of one room.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "description": "One socket for any number of rooms.",
                "messages": channel_messages,
                "bindings": {"ws": {"method": "GET"}},
            },
            "room": {
                "address": "/ws/chat/{room}",
                "description": "The same, joined to one room by the server right after `welcome`; there a frame needs \
                    no `room`.",
                "parameters": {"room": {"description": "An id where it is all digits, else a name."}},
                "messages": channel_messages,
                "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {
                    "after": {"type": "integer", "minimum": 0},
                    "epoch": {"type": "string"},
                    "limit": {"type": "integer", "minimum": 0},
                }}}},
            },
        },
        "operations": {
            "take": operation("receive", "socket", &said),
            "tell": operation("send", "socket", &heard),
            "takeInRoom": operation("receive", "room", &said),
            "tellInRoom": operation("send", "room", &heard),
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// Adds a type's schema and all that it refers to.
fn add_all<T: ToSchema>(schemas: &mut Schemas) {
    let mut found: Vec<(String, RefOr<Schema>)> = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    for (name, schema) in found {
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
}

/// Gives each kind of frame of an enum a schema and a message of its own; their keys.
fn split<T: ToSchema>(side: &str, schemas: &mut Schemas, messages: &mut Map<String, Value>) -> Vec<String> {
    let whole = schemas.remove(&*T::name()).unwrap_or_default();
    let kinds = whole["oneOf"].as_array().cloned().unwrap_or_default();
    let mut keys = Vec::new();
    for kind in kinds {
        let name = kind["properties"]["type"]["enum"][0].as_str().unwrap_or_default().to_owned();
        let schema = format!("{side}{}", camel_case(&name));
        keys.push(add_message(side, &name, &schema, messages));
        schemas.insert(schema, kind);
    }
    keys
}

fn add_message(side: &str, name: &str, schema: &str, messages: &mut Map<String, Value>) -> String {
    let key = format!("{side}-{name}");
    let payload = json!({"$ref": format!("#/components/schemas/{schema}")});
    messages.insert(key.clone(), json!({"name": name, "title": name, "payload": payload}));
    key
}

/// The messages of `joined` are spliced in as the bytes they already are, past its type.
fn complete_joined(schemas: &mut Schemas) {
    let Some(joined) = schemas.get_mut(&*Joined::name()) else { return };
    let items = json!({"$ref": format!("#/components/schemas/{}", ChangeText::name())});
    joined["properties"]["messages"] = json!({"type": "array", "items": items});
    if let Some(required) = joined["required"].as_array_mut() {
        required.push(json!("messages"));
    }
}

fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(word).collect()
}
