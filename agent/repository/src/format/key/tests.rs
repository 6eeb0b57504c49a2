use super::*;

/// Cheap, so that the tests are quick.
fn cheap(password: &[u8], master: &MasterKey) -> KeyFile {
    let mut file = KeyFile {
        created: Timestamp::UNIX_EPOCH,
        username: "root".to_owned(),
        hostname: "a<b".to_owned(),
        kdf: "scrypt".to_owned(),
        n: 16,
        r: 8,
        p: 1,
        salt: vec![5; 64],
        data: vec![0; IV_BYTES],
    };
    file.data.extend_from_slice(&encode_master(master));
    file.derive(password, u64::MAX).unwrap().seal_in_place(&mut file.data, 0);
    file
}

fn invalid(file: &KeyFile) -> bool {
    matches!(file.open(b"geheim"), Err(KeyError::Invalid(Invalid::Malformed(_))))
}

#[test]
fn a_new_key_file_opens_with_its_password_only() {
    let master = MasterKey::random();
    let created = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
    let file = KeyFile::create(b"geheim", &master, created, "host-0", "root");
    assert_eq!((file.n, file.r, file.p), (32_768, 8, 1));
    assert!(file.memory_bytes() <= limits::MAX_SCRYPT_BYTES);
    let read = KeyFile::decode(&file.encode()).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.open(b"geheim").unwrap().parts(), master.parts());
    assert_eq!(read.open(b"Geheim").unwrap_err(), KeyError::WrongPassword);
}

#[test]
fn fields_are_written_in_restic_s_order() {
    let text = String::from_utf8(cheap(b"geheim", &MasterKey::random()).encode()).unwrap();
    let expected = r#"{"created":"1970-01-01T00:00:00Z","username":"root","hostname":"a\u003cb","kdf":"scrypt","N":16,"r":8,"p":1,"salt":"BQUF"#;
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_key_that_asks_too_much_is_refused_before_memory_is_taken() {
    let mut file = cheap(b"geheim", &MasterKey::random());
    file.n = 1 << 30;
    assert_eq!(file.open(b"geheim").unwrap_err(), KeyError::TooCostly { bytes: 1 << 40 });
    file.n = 1 << 63;
    file.r = u32::MAX;
    assert_eq!(file.open(b"geheim").unwrap_err(), KeyError::TooCostly { bytes: u64::MAX });
    file.n = 131_072;
    file.r = 8;
    assert_eq!(file.open(b"geheim").unwrap_err(), KeyError::TooCostly { bytes: 128 << 20 });
    file.n = 65_536;
    assert_eq!(file.open(b"geheim").unwrap_err(), KeyError::WrongPassword);
}

#[test]
fn parameters_scrypt_does_not_take_are_refused() {
    let good = cheap(b"geheim", &MasterKey::random());
    let cases: [fn(&mut KeyFile); 9] = [
        |file| file.kdf = "argon2".to_owned(),
        |file| file.salt.truncate(63),
        |file| file.salt.clear(),
        |file| file.n = 0,
        |file| file.n = 1,
        |file| file.n = 48,
        |file| file.r = 0,
        |file| file.p = 0,
        |file| file.p = 17,
    ];
    for (position, change) in cases.iter().enumerate() {
        let mut file = good.clone();
        change(&mut file);
        assert!(invalid(&file), "case {position}");
    }
    let mut wide = good;
    (wide.n, wide.r, wide.p) = (2, 1 << 17, 16);
    assert!(invalid(&wide));
}

#[test]
fn damaged_sealed_keys_do_not_open() {
    let mut file = cheap(b"geheim", &MasterKey::random());
    let whole = file.data.clone();
    for position in 0..whole.len() {
        file.data = whole.clone();
        file.data[position] ^= 4;
        assert_eq!(file.open(b"geheim").unwrap_err(), KeyError::WrongPassword);
        file.data.truncate(position);
        assert!(file.open(b"geheim").is_err());
    }
}

#[test]
fn a_master_key_of_wrong_shape_is_refused_without_quoting_it() {
    let k = BASE64.encode(&[1; 16]);
    let encrypt = BASE64.encode(&[1; 32]);
    for json in [
        format!(r#"{{"mac":{{"k":"{k}","r":"{k}"}},"encrypt":"{k}"}}"#),
        format!(r#"{{"mac":{{"k":"{k}","r":""}},"encrypt":"{encrypt}"}}"#),
        format!(r#"{{"mac":{{"k":"!","r":"{k}"}},"encrypt":"{encrypt}"}}"#),
        format!(r#"{{"mac":{{"k":"{k}"}},"encrypt":"{encrypt}"}}"#),
        "7".to_owned(),
    ] {
        let why = decode_master(json.as_bytes()).unwrap_err().to_string();
        assert!(!why.contains("AQEB"), "{why}");
    }
}

#[test]
fn every_truncation_of_the_file_is_refused() {
    let text = cheap(b"geheim", &MasterKey::random()).encode();
    for length in 0..text.len() {
        assert!(KeyFile::decode(&text[..length]).is_err());
    }
}
