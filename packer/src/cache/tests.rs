use super::*;
use std::os::unix::fs::PermissionsExt;

fn key(n: u32) -> Key {
    let mut key = [7; 32];
    // Over all directories.
    key[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    key
}

fn store(dir: &Path) -> Directory {
    Directory::new(dir.join("x/lift"), DEFAULT_LIMIT)
}

#[test]
fn what_was_put_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let cache = store(dir.path());
    assert_eq!(cache.get(&key(1)), None);
    for (n, value) in [(1, &b"one"[..]), (2, b""), (3, &[9; 100_000]), (1, b"another")] {
        cache.put(&key(n), value);
        assert_eq!(store(dir.path()).get(&key(n)).as_deref(), Some(value));
    }
    assert_eq!(cache.get(&key(4)), None);
    assert_eq!(cache.problem(), None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&cache.dir), mode(&cache.path(&key(1)))), (0o700, 0o600));
}

#[test]
fn damage_is_a_miss_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = store(dir.path());
    cache.put(&key(1), b"some value or other");
    let path = cache.path(&key(1));
    let good = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    damaged.extend((0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    }));
    damaged.push([&good[..], b"x"].concat());
    for bytes in damaged {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.get(&key(1)), None, "{bytes:?}");
    }
    cache.put(&key(1), b"some value or other");
    assert_eq!(fs::read(&path).unwrap(), good);

    // Somebody else's value, and a file that others may have written.
    cache.put(&key(2), b"of another key");
    fs::copy(cache.path(&key(2)), &path).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    fs::set_permissions(cache.path(&key(2)), fs::Permissions::from_mode(0o622)).unwrap();
    assert_eq!(cache.get(&key(2)), None);

    // A directory in the place of a file.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), b"x");
    assert!(cache.problem().is_some());
}

#[test]
fn a_directory_that_cannot_be_made_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), "a file").unwrap();
    let cache = store(dir.path());
    for n in 0..3 {
        cache.put(&key(n), b"value");
        assert_eq!(cache.get(&key(n)), None);
    }
    let problem = cache.problem().unwrap();
    assert!(problem.contains("x/lift") && !problem.contains('\n'), "{problem}");
}

fn disk(cache: &Directory) -> u64 {
    let shards = (0..SHARDS).filter_map(|n| fs::read_dir(cache.shard(n)).ok()).flatten();
    shards.map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn the_least_recently_used_goes() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 1 << 20;
    let cache = Directory::new(dir.path().join("lift"), limit);
    let day = Duration::from_secs(86_400);
    for n in 0..400 {
        cache.put(&key(n), &[1; 4000]);
        let file = File::open(cache.path(&key(n))).unwrap();
        // The later, the older.
        file.set_modified(SystemTime::now() - day * (n + 1)).unwrap();
    }
    // A use makes an old one young.
    assert!(cache.get(&key(399)).is_some());
    assert!(disk(&cache) > limit);
    cache.trim();
    assert!(disk(&cache) <= limit && disk(&cache) > limit / 2, "{}", disk(&cache));
    assert!(cache.get(&key(399)).is_some() && cache.get(&key(0)).is_some() && cache.get(&key(20)).is_some());
    assert!(cache.get(&key(398)).is_none());

    // It stays within bounds by itself.
    let mut next = 1000;
    for _ in 0..60 {
        let cache = Directory::new(dir.path().join("lift"), limit);
        for _ in 0..20 {
            cache.put(&key(next), &[2; 4000]);
            next += 1;
        }
    }
    assert!(disk(&cache) < limit * 3, "{}", disk(&cache));
}

#[test]
fn many_writers_and_readers() {
    let dir = tempfile::tempdir().unwrap();
    let value = |n: u32| vec![n as u8; 2000 + n as usize];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = Directory::new(dir.path().join("lift"), 64 << 10);
                for n in (0..40).cycle().take(400) {
                    if let Some(found) = cache.get(&key(n)) {
                        assert!(found == value(n));
                    }
                    cache.put(&key(n), &value(n));
                    if n == 39 {
                        cache.trim();
                    }
                }
                assert_eq!(cache.problem(), None);
            });
        }
    });
    let left = fs::read_dir(dir.path().join("lift")).unwrap().flatten();
    let names = left.flat_map(|shard| fs::read_dir(shard.path()).unwrap().flatten());
    assert!(names.map(|e| e.file_name().into_string().unwrap()).all(|name| !name.ends_with(".tmp")));
}
