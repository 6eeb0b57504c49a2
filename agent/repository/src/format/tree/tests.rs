use proptest::prelude::*;

use super::*;

const GOLDEN: [(&str, &[u8]); 8] = [
    ("attributes", include_bytes!("../../../tests/golden/trees/attributes.json")),
    ("bytes", include_bytes!("../../../tests/golden/trees/bytes.json")),
    ("empty", include_bytes!("../../../tests/golden/trees/empty.json")),
    ("kinds", include_bytes!("../../../tests/golden/trees/kinds.json")),
    ("links", include_bytes!("../../../tests/golden/trees/links.json")),
    ("names", include_bytes!("../../../tests/golden/trees/names.json")),
    ("source", include_bytes!("../../../tests/golden/trees/source.json")),
    ("times", include_bytes!("../../../tests/golden/trees/times.json")),
];

const KINDS: [NodeKind; 8] = [
    NodeKind::File,
    NodeKind::Dir,
    NodeKind::Symlink,
    NodeKind::Dev,
    NodeKind::Chardev,
    NodeKind::Fifo,
    NodeKind::Socket,
    NodeKind::Irregular,
];

fn golden(name: &str) -> &'static [u8] {
    GOLDEN.iter().find(|entry| entry.0 == name).unwrap().1
}

fn encode<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<u8> {
    let mut writer = TreeWriter::new();
    for node in nodes {
        writer.push(node).unwrap();
    }
    writer.finish()
}

fn one(fields: &str) -> Result<Node, Invalid> {
    decode(format!("{{\"nodes\":[{{{fields}}}]}}\n").as_bytes()).map(|nodes| nodes[0].clone())
}

#[test]
fn trees_of_restic_are_written_back_to_the_byte() {
    for (name, json) in GOLDEN {
        // Names of attributes that are not UTF-8 are lost in restic's JSON; what is read is another, valid name.
        let json = String::from_utf8_lossy(json).replace("user.\\ufffd\\ufffd", "user.\u{fffd}\u{fffd}");
        let mut reader = nodes(json.as_bytes());
        let read: Vec<Node> = reader.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(reader.disorder(), None, "{name}");
        assert_eq!(String::from_utf8_lossy(&encode(&read)), json, "{name}");
    }
}

#[test]
fn every_byte_a_name_can_hold_is_read_from_restics_tree() {
    let mut expected: Vec<Vec<u8>> = (1..=255)
        .filter(|&byte| byte != b'/')
        .flat_map(|byte| [vec![b'b', byte], vec![b'c', byte, 0x41], vec![b'd', byte, 0x80, 0xbf]])
        .collect();
    expected.sort();
    let names: Vec<Vec<u8>> = decode(golden("bytes")).unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, expected);
}

#[test]
fn link_targets_are_read_as_raw_bytes() {
    let links = decode(golden("links")).unwrap();
    let target = |number: usize| &links[number].link_target[..];
    assert_eq!(target(0), b"plain");
    assert_eq!(target(2), "\u{fffd} genuine".as_bytes());
    assert_eq!(target(3), b"\xff\xfe invalid");
    assert_eq!(target(6), (1..128).collect::<Vec<u8>>());
    assert_eq!(target(7), (128..=255).collect::<Vec<u8>>());
    assert_eq!(target(10), b"genuine \xef\xbf\xbd and invalid \xff");
}

#[test]
fn kinds_and_rare_fields_are_read() {
    let read = decode(golden("kinds")).unwrap();
    let find = |name: &str| read.iter().find(|node| node.name == name.as_bytes()).unwrap();
    for (name, kind) in [
        ("block", NodeKind::Dev),
        ("character", NodeKind::Chardev),
        ("dir", NodeKind::Dir),
        ("fifo", NodeKind::Fifo),
        ("file", NodeKind::File),
    ] {
        let node = find(name);
        assert_eq!((node.kind, mode::kind(node.mode)), (kind, kind), "{name}");
        assert_eq!(NodeKind::of_word(kind.word()), kind);
    }
    assert_eq!((find("block").rare.device, find("character").rare.device), (268_501_761, 259));
    assert_eq!((find("linked").links, find("linked").device_id != 0, find("file").device_id), (2, true, 0));
    assert_eq!((find("empty").content.as_deref(), find("dir").content.as_deref()), (Some(&[][..]), None));
    assert_eq!(find("many-chunks").content.as_ref().map(Vec::len), Some(3));
    assert!(find("dir").subtree.is_some());
    assert_eq!(mode::to_unix(find("mode4").mode), 0o107_777);
    assert_eq!((&*find("file").user, &*find("stranger").user), ("root", ""));
    let attributes = &decode(golden("attributes")).unwrap()[0].rare.extended_attributes;
    let value = |name: &[u8]| &attributes.iter().find(|attribute| attribute.name == name).unwrap().value;
    assert_eq!(*value(b"user.binary"), (0..=255).collect::<Vec<u8>>());
    assert_eq!(*value("user.\u{e4}\u{2028}<\"\\".as_bytes()), [0]);
    assert_eq!(*value(b"user.empty"), b"");
}

#[test]
fn other_writers_json_is_read() {
    let json = br#" { "version" : [1, {"a": null}], "nodes" : [ { "content" : null , "x":{"y":[1.5e3,true]}, "mode":null,
        "type":"dir", "gid":7, "generic_attributes":{"windows.creation_time":"x"}, "mtime":"2020-01-01T01:00:00.5+01:00",
        "subtree":"0101010101010101010101010101010101010101010101010101010101010101", "n\u0061me":"\u00e4\ud83d\ude00\\x41\/" ,
        "user":"<\u0007\ud800>" , "linktarget":"a\u0008","linktarget_raw":"" } , {"name":"\\u00e4","type":"whiteout"} ] , "later":{} } "#;
    let mut reader = nodes(json);
    // A slash in a name is an error of this one node.
    let bad = reader.next().unwrap().unwrap_err();
    assert_eq!(bad.to_string(), "the name \"\\xc3\\xa4\\xf0\\x9f\\x98\\x80A/\" holds a slash");
    let second = reader.next().unwrap().unwrap();
    assert_eq!((second.name.as_slice(), second.kind), ("\u{e4}".as_bytes(), NodeKind::Irregular));
    assert_eq!(second.mtime, Timestamp::GO_ZERO);
    assert_eq!((reader.next(), reader.next()), (None, None));

    let json = String::from_utf8_lossy(json).replace("\\/", "");
    let first = nodes(json.as_bytes()).next().unwrap().unwrap();
    assert_eq!(first.mtime, Timestamp { seconds: 1_577_836_800, nanoseconds: 500_000_000 });
    assert_eq!((first.subtree, &*first.user), (Some(Id::from_bytes([1; 32])), "<\u{7}\u{fffd}>"));
    assert_eq!(first.rare.generic_attributes.as_deref(), Some("{\"windows.creation_time\":\"x\"}"));
    assert_eq!(first.link_target, b"");
    assert_eq!(decode(b"{\"nodes\":null}"), Ok(vec![]));
}

#[test]
fn names_that_are_no_names_are_refused_and_told() {
    for (name, told) in [
        ("", "\"\""),
        (".", "\".\""),
        ("..", "\"..\""),
        ("a/b", "\"a/b\""),
        ("\\\\x00", "\"\\x00\""),
        ("a\\\\x2fb", "\"a/b\""),
        ("\\\\x2e.", "\"..\""),
        ("a\\\\", "\"a\\\\\""),
        ("a\\\"", "\"a\\\"\""),
        ("\\\\ud800", "\"\\\\ud800\""),
    ] {
        let error = one(&format!("\"name\":\"{name}\",\"type\":\"file\"")).unwrap_err().to_string();
        assert!(error.contains(told), "{name}: {error}");
    }
    assert!(one("\"type\":\"file\"").is_err());
    let mut writer = TreeWriter::new();
    assert!(writer.push(&Node::new("a/b", NodeKind::File)).is_err());
}

#[test]
fn disorder_is_told_by_readers_and_refused_by_the_writer() {
    for (names, disorder) in
        [(["a", "b", "c"], None), (["a", "a", "b"], Some("a")), (["b", "c", "a"], Some("a"))]
    {
        let [first, second, third] = names.map(|name| format!("{{\"name\":\"{name}\"}}"));
        let json = format!("{{\"nodes\":[{first},{second},{third}]}}");
        let mut reader = nodes(json.as_bytes());
        assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 3);
        assert_eq!(reader.disorder(), disorder.map(str::as_bytes));
        let mut writer = TreeWriter::new();
        let pushed: Result<Vec<()>, Invalid> =
            names.iter().map(|&name| writer.push(&Node::new(name, NodeKind::File))).collect();
        assert_eq!(pushed.is_err(), disorder.is_some(), "{names:?}");
    }
    let mut writer = TreeWriter::new();
    writer.push(&Node::new("b", NodeKind::File)).unwrap();
    let size_bytes = writer.size_bytes();
    assert!(writer.push_encoded(b"a", b"{}").is_err());
    assert_eq!(writer.size_bytes(), size_bytes);
}

#[test]
fn damaged_values_are_refused() {
    for field in [
        "\"mode\":-1",
        "\"mode\":4294967296",
        "\"uid\":01",
        "\"inode\":1.5",
        "\"size\":1e3",
        "\"size\":18446744073709551616",
        "\"links\":\"1\"",
        "\"mtime\":\"yesterday\"",
        "\"content\":[\"00\"]",
        "\"content\":{}",
        "\"subtree\":\"xx\"",
        "\"linktarget_raw\":\"?\"",
        "\"generic_attributes\":[]",
        "\"unknown\":nul",
        "\"unknown\":[1,]",
        "\"user\":\"\\u12\"",
        "\"user\":\"a\nb\"",
    ] {
        let error = one(&format!("\"name\":\"a\",{field}"));
        assert!(matches!(error, Err(Invalid::Malformed(_))), "{field}: {error:?}");
    }
    for json in
        ["", "null", "[]", "{}", "{\"nodes\":{}}", "{\"nodes\":[]", "{\"nodes\":[]}x", "{\"nodes\":[null]}"]
    {
        assert!(decode(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn deep_nesting_is_passed_over_without_recursion() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    assert_eq!(one(&format!("\"name\":\"a\",\"x\":{deep}")).unwrap().name, b"a");
    assert!(one(&format!("\"name\":\"a\",\"x\":{}", &deep[..300_000])).is_err());
}

#[test]
fn a_node_stays_small() {
    assert!(size_of::<Node>() <= 250, "{}", size_of::<Node>());
    let mut node = Node::new("a", NodeKind::File);
    assert_eq!((node.rare.device, node.rare.extended_attributes.len()), (0, 0));
    node.rare.device = 0;
    assert_eq!(node, Node::new("a", NodeKind::File));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = any::<String>().prop_map(String::into_bytes);
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..20), text]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    bytes().prop_map(|mut name| {
        name.retain(|byte| !matches!(byte, 0 | b'/'));
        name.push(b'n');
        name
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200i64..253_402_300_800, 0..1_000_000_000u32)
        .prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let byte = prop::sample::select(&b"\"\\{}[],:0u9ne\xff\x00 /-"[..]);
    proptest::collection::vec((any::<prop::sample::Index>(), byte), 0..4)
}

fn plain_node() -> impl Strategy<Value = Node> {
    (node(), "[a-z.]{1,8}x", "[a-z/]{0,8}", "[a-z]{0,3}").prop_map(|(node, name, target, user)| Node {
        name: name.into_bytes(),
        link_target: target.into_bytes(),
        user: user.as_str().into(),
        group: user.as_str().into(),
        rare: Rare::default(),
        ..node
    })
}

prop_compose! {
    fn node()(
        (name, kind, link_target) in (name(), 0..8usize, bytes()),
        (mode, uid, gid, inode, device_id, size, links, device) in any::<(u32, u32, u32, u64, u64, u64, u64, u64)>(),
        (mtime, atime, ctime) in (time(), time(), time()),
        (user, group, error) in any::<(String, String, String)>(),
        (content, subtree) in any::<(Option<Vec<[u8; 32]>>, Option<[u8; 32]>)>(),
        attributes in proptest::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..3),
    ) -> Node {
        let mut node = Node::new(name, KINDS[kind]);
        (node.mode, node.uid, node.gid, node.inode, node.device_id) = (mode, uid, gid, inode, device_id);
        (node.size, node.links, node.mtime, node.atime, node.ctime) = (size, links, mtime, atime, ctime);
        (node.user, node.group, node.link_target) = (user.as_str().into(), group.as_str().into(), link_target);
        node.content = content.map(|ids| ids.into_iter().map(Id::from_bytes).collect());
        node.subtree = subtree.map(Id::from_bytes);
        (node.rare.device, node.rare.error) = (device, error);
        node.rare.extended_attributes = attributes
            .into_iter()
            .map(|(name, value)| ExtendedAttribute { name: name.into_bytes(), value })
            .collect();
        node
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nodes_are_read_as_they_were_written(node in node()) {
        for kind in KINDS {
            prop_assert_eq!(NodeKind::of_word(kind.word()), kind);
        }
        let json = encode([&node]);
        prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok());
        let read = decode(&json).unwrap();
        prop_assert_eq!(read, vec![node]);
    }

    #[test]
    fn the_fast_way_reads_what_the_thorough_way_reads(node in plain_node(), changes in changes()) {
        let mut json = encode([&node]);
        prop_assert_eq!(decode(&json), Ok(vec![node]));
        for (at, byte) in changes {
            let at = at.index(json.len());
            json[at] = byte;
        }
        // White space sends every node the thorough way.
        let thorough = [b"{\"nodes\":[ ", json.strip_prefix(b"{\"nodes\":[").unwrap_or(b"")].concat();
        if json.starts_with(b"{\"nodes\":[") {
            prop_assert_eq!(decode(&json).ok(), decode(&thorough).ok());
        }
    }

    #[test]
    fn damaged_trees_never_panic(
        which in 0..GOLDEN.len(),
        end in any::<prop::sample::Index>(),
        changes in changes(),
    ) {
        let mut json = GOLDEN[which].1[..GOLDEN[which].1.len().min(6000)].to_vec();
        for (at, byte) in changes {
            let at = at.index(json.len());
            json[at] = byte;
        }
        json.truncate(end.index(json.len() + 1));
        // No node without a byte, and one error: the reader comes to an end.
        prop_assert!(nodes(&json).count() <= json.len() + 1);
    }
}
