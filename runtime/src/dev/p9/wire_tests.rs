//! Round trips, truncation at each byte, hostile lengths.

use super::*;

fn requests() -> Vec<Request<'static>> {
    let name: &[u8] = b"a name";
    vec![
        Request::Statfs { fid: 1 },
        Request::Lopen { fid: 2, flags: 0o102 },
        Request::Lcreate { fid: 3, name, flags: 2, mode: 0o644, gid: 9 },
        Request::Symlink { fid: 4, name, target: b"../x", gid: 0 },
        Request::Mknod { fid: 5, name, mode: 0o100644, major: 1, minor: 3, gid: 0 },
        Request::Rename { fid: 6, dir: 7, name },
        Request::Readlink { fid: 8 },
        Request::Getattr { fid: 9, mask: 0x7ff },
        Request::Setattr {
            fid: 10,
            valid: 0x1ff,
            mode: 1,
            uid: 2,
            gid: 3,
            size: u64::MAX,
            atime_sec: 4,
            atime_nsec: 5,
            mtime_sec: 6,
            mtime_nsec: 7,
        },
        Request::Xattrwalk { fid: 11, newfid: 12, name },
        Request::Xattrcreate { fid: 13, name, size: 1, flags: 0 },
        Request::Readdir { fid: 14, offset: 1 << 40, count: 512 },
        Request::Fsync { fid: 15, datasync: 1 },
        Request::Lock { fid: 16, kind: 1, flags: 1, start: 0, length: 0, proc_id: 77, client: b"host" },
        Request::Getlock { fid: 17, kind: 1, start: 5, length: 6, proc_id: 7, client: b"host" },
        Request::Link { dir: 18, fid: 19, name },
        Request::Mkdir { fid: 20, name, mode: 0o755, gid: 0 },
        Request::Renameat { old_dir: 21, old_name: name, new_dir: 22, new_name: b"" },
        Request::Unlinkat { fid: 23, name, flags: 0x200 },
        Request::Version { msize: 8192, version: b"9P2000.L" },
        Request::Auth { afid: 24, uname: b"root", aname: b"", n_uname: 0 },
        Request::Attach { fid: 25, afid: NO_FID, uname: b"root", aname: b"/", n_uname: NO_FID },
        Request::Flush { oldtag: 65535 },
        Request::Walk { fid: 26, newfid: 27, names: vec![b"a", b"bc", b"def"] },
        Request::Read { fid: 28, offset: 7, count: 4096 },
        Request::Write { fid: 29, offset: 8, data: Data(b"some data") },
        Request::Clunk { fid: 30 },
        Request::Remove { fid: 31 },
    ]
}

fn encode(request: &Request<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let len = request.encode(0x1234, &mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn every_request_survives_the_round_trip() {
    let all = requests();
    let mut ids: Vec<u8> = all.iter().map(Request::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 28, "one of each type");
    for request in all {
        let bytes = encode(&request);
        assert_eq!(bytes[..4], (bytes.len() as u32).to_le_bytes());
        assert_eq!(bytes[4..HEADER], [request.id(), 0x34, 0x12]);
        assert_eq!(Request::decode(bytes[4], &bytes[HEADER..]), Ok(request));
    }
}

#[test]
fn truncation_at_each_byte_is_an_error() {
    for request in requests() {
        let bytes = encode(&request);
        for end in HEADER..bytes.len() {
            let got = Request::decode(bytes[4], &bytes[HEADER..end]);
            assert!(matches!(got, Err(WireError::Truncated { .. })), "{request:?} cut at {end}: {got:?}");
        }
    }
}

#[test]
fn a_message_that_does_not_fit_is_not_written_past_the_end() {
    for request in requests() {
        let whole = encode(&request).len();
        let mut buffer = vec![0xaa; whole + 8];
        for room in 0..whole {
            assert_eq!(request.encode(1, &mut buffer[..room]), None);
            assert!(buffer[room..].iter().all(|&b| b == 0xaa), "{request:?} in {room} bytes");
            buffer.fill(0xaa);
        }
    }
}

#[test]
fn hostile_lengths_are_refused() {
    // Twalk that claims 65535 names, Twrite that claims 4 GiB, a name of 64 KiB.
    let walk = [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    assert_eq!(Request::decode(110, &walk), Err(WireError::Names(0xffff)));
    let mut write = vec![0; 12];
    write.extend([0xff; 4]);
    write.extend([0; 64]);
    assert_eq!(Request::decode(118, &write), Err(WireError::Truncated { at: 16 }));
    let mkdir = [0, 0, 0, 0, 0xff, 0xff, b'x'];
    assert_eq!(Request::decode(72, &mkdir), Err(WireError::Truncated { at: 6 }));
    for id in 0..=255u8 {
        // Whatever the type, nothing but its own fields is read, and no length is believed.
        let _ = Request::decode(id, &[0xff; 200]);
        let _ = Reply::decode(id, &[0xff; 200]);
    }
    assert_eq!(Request::decode(6, &[]), Err(WireError::Type(6)));
}

#[test]
fn replies_have_the_layout_of_the_protocol() {
    // Written out by hand from the protocol's description: an encoder and a decoder of ours could agree on a mistake.
    let mut b = [0; 64];
    let qid = Qid { kind: Qid::DIR, version: 0x0403_0201, path: 0x0c0b_0a09_0807_0605 };
    let n = Reply::Walk { qids: vec![qid] }.encode(7, &mut b).unwrap();
    let expected = [22, 0, 0, 0, 111, 7, 0, 1, 0, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(b[..n], expected);
    assert_eq!(n, HEADER + 2 + Qid::SIZE);
    let n = Reply::Lerror { errno: 2 }.encode(0xffff, &mut b).unwrap();
    assert_eq!(b[..n], [11, 0, 0, 0, 7, 0xff, 0xff, 2, 0, 0, 0]);
    let n = Reply::Version { msize: 8192, version: b"9P2000.L" }.encode(0xffff, &mut b).unwrap();
    assert_eq!(&b[..n], b"\x15\0\0\0\x65\xff\xff\0\x20\0\0\x08\x009P2000.L");
    let mut attr = [0; 256];
    let zero = Reply::decode(25, &[0; 153]).unwrap();
    assert_eq!(zero.encode(0, &mut attr), Some(HEADER + 153), "Rgetattr is 160 bytes long");
    let n = finish_data(RREAD, 9, 3, &mut b).unwrap();
    assert_eq!(n, 14);
    assert_eq!(b[..DATA_HEADER], [14, 0, 0, 0, 117, 9, 0, 3, 0, 0, 0]);
    assert_eq!(finish_data(RREAD, 9, 60, &mut b), None);
}
