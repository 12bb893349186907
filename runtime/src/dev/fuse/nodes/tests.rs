use super::*;

fn stat(kind: Kind, ino: u64) -> Stat {
    let zero = Time::default();
    Stat {
        kind,
        mode: None,
        owner: None,
        device: (0, 0),
        dev: 1,
        ino,
        nlink: 1,
        size: 0,
        blocks: 0,
        atime: zero,
        mtime: zero,
        ctime: zero,
    }
}

fn dir(t: &mut Nodes, parent: NodeId, name: &[u8], ino: u64) -> NodeId {
    t.look_up(parent, name, &stat(Kind::Dir, ino)).unwrap()
}

fn file(t: &mut Nodes, parent: NodeId, name: &[u8], ino: u64) -> NodeId {
    t.look_up(parent, name, &stat(Kind::File, ino)).unwrap()
}

#[test]
fn nodes_live_as_long_as_someone_points_at_them() {
    let mut t = Nodes::new();
    let a = dir(&mut t, ROOT, b"a", 2);
    let b = dir(&mut t, a, b"b", 3);
    let f = file(&mut t, b, b"f", 4);
    assert_eq!(t.path(f).unwrap(), b"a/b/f");
    t.forget(a, 1);
    t.forget(b, 1);
    assert_eq!(t.len(), 4, "what lies below holds them");
    assert_eq!(file(&mut t, b, b"f", 4), f);
    t.forget(f, 1);
    assert_eq!(t.len(), 4, "two look-ups, one taken back");
    t.get_mut(f).unwrap().open.push(7);
    t.forget(f, 1);
    assert_eq!(t.path(f).unwrap(), b"a/b/f", "open");
    t.get_mut(f).unwrap().open.clear();
    t.release(f);
    assert_eq!((t.len(), t.path(ROOT).unwrap()), (1, b".".to_vec()));
    assert!(t.keys.is_empty());
}

#[test]
fn a_file_is_one_node_by_all_its_names() {
    let mut t = Nodes::new();
    let d = dir(&mut t, ROOT, b"d", 2);
    let f = file(&mut t, ROOT, b"f", 3);
    assert_eq!(file(&mut t, d, b"g", 3), f);
    assert_eq!(t.path(f).unwrap(), b"d/g", "the newest name");
    t.remove_name(f, d, b"g", None);
    assert_eq!(t.path(f).unwrap(), b"f");
    t.remove_name(f, ROOT, b"f", Some(stat(Kind::File, 3)));
    assert_eq!((t.path(f), t.has_name(f)), (Err(Errno::NOENT), false));
    let new = file(&mut t, ROOT, b"f", 3);
    assert_ne!(new, f, "the host has given the number to another file");
}

#[test]
fn a_number_that_comes_back_as_another_kind_is_another_file() {
    let mut t = Nodes::new();
    let f = file(&mut t, ROOT, b"x", 3);
    let d = dir(&mut t, ROOT, b"x", 3);
    assert_ne!(f, d);
    assert_eq!(dir(&mut t, ROOT, b"x", 3), d);
}

#[test]
fn a_rename_moves_what_is_below() {
    let mut t = Nodes::new();
    let a = dir(&mut t, ROOT, b"a", 2);
    let f = file(&mut t, a, b"f", 3);
    let z = dir(&mut t, ROOT, b"z", 4);
    t.rename(a, (ROOT, b"a"), (z, b"y")).unwrap();
    assert_eq!(t.path(f).unwrap(), b"z/y/f");
    // What the host renames is found at the next look-up.
    dir(&mut t, ROOT, b"elsewhere", 2);
    assert_eq!(t.path(f).unwrap(), b"elsewhere/f");
}

#[test]
fn names_stand_for_files_where_there_are_no_numbers() {
    let mut t = Nodes::new();
    let f = file(&mut t, ROOT, b"f", 0);
    assert_ne!(file(&mut t, ROOT, b"g", 0), f);
    assert_eq!(file(&mut t, ROOT, b"f", 0), f);
    t.rename(f, (ROOT, b"f"), (ROOT, b"h")).unwrap();
    assert_eq!(file(&mut t, ROOT, b"h", 0), f);
    assert_ne!(file(&mut t, ROOT, b"f", 0), f);
    // Onto another, which stays open and is forgotten later: the name is the new one's all the same.
    let g = t.find(&Key::Name(ROOT, b"g"[..].into())).unwrap();
    t.remove_name(g, ROOT, b"g", None);
    t.rename(f, (ROOT, b"h"), (ROOT, b"g")).unwrap();
    t.forget(g, 1);
    assert_eq!(file(&mut t, ROOT, b"g", 0), f);
}

#[test]
fn another_file_under_a_name_is_noticed() {
    let mut t = Nodes::new();
    let f = file(&mut t, ROOT, b"f", 3);
    assert_eq!(t.check(f, &stat(Kind::File, 3)), Ok(()));
    assert_eq!(t.check(f, &stat(Kind::File, 4)), Err(Errno::STALE));
    assert_eq!(t.check(f, &stat(Kind::Dir, 3)), Err(Errno::STALE));
    assert_eq!(t.check(ROOT, &stat(Kind::Dir, 9)), Ok(()));
    assert_eq!(t.check(99, &stat(Kind::Dir, 9)), Err(Errno::STALE));
    dir(&mut t, ROOT, b"f", 3);
    assert_eq!(t.check(f, &stat(Kind::File, 3)), Err(Errno::STALE), "its number is another's");
}

#[test]
fn nodes_are_bounded() {
    let mut t = Nodes::new();
    for ino in 2..=MAX_NODES as u64 {
        file(&mut t, ROOT, b"f", ino);
    }
    assert_eq!(t.look_up(ROOT, b"f", &stat(Kind::File, 1 << 40)), Err(Errno::NFILE));
    assert_eq!(t.look_up(ROOT, b"f", &stat(Kind::File, 2)), Ok(2), "what is known is found");
    t.forget(3, 1);
    file(&mut t, ROOT, b"f", 1 << 40);
}

#[test]
fn long_paths_and_circles_end() {
    let mut t = Nodes::new();
    let name = [b'n'; 255];
    let mut at = ROOT;
    for ino in 2..18 {
        at = dir(&mut t, at, &name, ino);
    }
    assert_eq!(t.path(at).unwrap().len(), 4095);
    let long = file(&mut t, at, b"x", 99);
    assert_eq!(t.path(long), Err(Errno::NAMETOOLONG));
    let mut t = Nodes::new();
    let (a, b) = (dir(&mut t, ROOT, b"a", 2), dir(&mut t, ROOT, b"b", 3));
    dir(&mut t, b, b"a", 2);
    dir(&mut t, a, b"b", 3);
    assert_eq!(t.path(a), Err(Errno::NAMETOOLONG));
}

#[test]
fn old_names_are_forgotten() {
    let mut t = Nodes::new();
    for n in 0..100u32 {
        file(&mut t, ROOT, &n.to_le_bytes(), 5);
    }
    assert_eq!((t.len(), t.get(ROOT).unwrap().children), (2, MAX_NAMES));
}
