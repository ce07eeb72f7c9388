internal import CKernels
internal import Synchronization
internal import Testing

@testable internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// More threads than most test machines have CPUs.
private func makePool(threads: Int, spinMicroseconds: Int = 100) throws -> ThreadPool {
  try ThreadPool(threads: threads, allowed: 64, spinMicroseconds: spinMicroseconds)
}

/// Memory that the parts of a job write without synchronisation, so that the thread sanitizer checks the pool's own.
private final class Slots: @unchecked Sendable {
  private let memory: UnsafeMutablePointer<Int>
  let count: Int

  init(_ count: Int) {
    self.count = count
    memory = .allocate(capacity: count)
    memory.initialize(repeating: 0, count: count)
  }

  deinit { memory.deallocate() }

  subscript(index: Int) -> Int {
    get { memory[index] }
    set { memory[index] = newValue }
  }

  var values: [Int] { Array(UnsafeBufferPointer(start: memory, count: count)) }
}

/// A host thread, which Swift concurrency would not promise: its tasks may run one after the other.
func onHostThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Start: Sendable {
    let number: Int
    let body: @Sendable (Int) -> Void
    init(number: Int, body: @escaping @Sendable (Int) -> Void) {
      self.number = number
      self.body = body
    }
  }
  var threads: [pthread_t] = []
  for number in 0..<count {
    let start = Unmanaged.passRetained(Start(number: number, body: body))
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let failed = pthread_create(
      &thread, nil,
      { argument in
        #if canImport(Darwin)
          let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        #else
          guard let argument else { return nil }
          let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        #endif
        start.body(start.number)
        return nil
      }, start.toOpaque())
    #expect(failed == 0)
    #if canImport(Darwin)
      if let thread { threads.append(thread) }
    #else
      threads.append(thread)
    #endif
  }
  for thread in threads { pthread_join(thread, nil) }
}

@Suite struct ThreadPoolTests {
  @Test(arguments: [1, 2, 3, 8, 17])
  func runsEveryPartOnceOnItsWorker(threads: Int) throws {
    let pool = try makePool(threads: threads)
    #expect(pool.threadCount == threads)
    for parts in [0, 1, 2, threads - 1, threads, threads + 1, 1000] {
      let calls = Slots(parts)
      let workers = Slots(parts)
      pool.run(parts: parts) { part, worker in
        calls[part] += 1
        workers[part] = worker
      }
      #expect(calls.values == Array(repeating: 1, count: parts), "\(parts) parts")
      #expect(workers.values == (0..<parts).map { $0 % threads }, "\(parts) parts")
    }
  }

  @Test func theCallerIsWorkerZeroAndTheOthersKeepTheirThreads() throws {
    let pool = try makePool(threads: 4)
    let first = Slots(4)
    let second = Slots(4)
    for threads in [first, second] {
      pool.run(parts: 4) { part, _ in threads[part] = threadNumber() }
    }
    #expect(first[0] == threadNumber())
    #expect(Set(first.values).count == 4)
    #expect(first.values == second.values)
  }

  /// Each job reads what other workers wrote in the one before, with no part at the same place twice in a row.
  @Test(arguments: [2, 3, 8])
  func whatOneJobWroteTheNextAndTheCallerSee(threads: Int) throws {
    let pool = try makePool(threads: threads)
    let parts = 2 * threads + 1
    var (old, new) = (Slots(parts), Slots(parts))
    for _ in 0..<500 {
      let (from, to) = (old, new)
      pool.run(parts: parts) { part, _ in to[part] = from[(part + 1) % parts] + 1 }
      swap(&old, &new)
    }
    #expect(old.values == Array(repeating: 500, count: parts))
  }

  /// Jobs with fewer parts than threads leave workers behind, which must not take the next job for the last.
  @Test func jobsOfEverySizeFollowEachOther() throws {
    let pool = try makePool(threads: 5)
    let calls = Slots(12)
    for job in 0..<3000 {
      pool.run(parts: job % 13) { part, _ in calls[part] += 1 }
    }
    #expect(calls.values == (0..<12).map { part in (0..<3000).count { $0 % 13 > part } })
  }

  @Test func jobsOfSeveralHostThreadsRunOneAfterTheOther() throws {
    let pool = try makePool(threads: 3)
    let running = Atomic(0)  // six bits for each host: how many of its parts are running
    let overlaps = Atomic(0)
    let calls = Slots(7)
    onHostThreads(8) { host in
      let one = 1 << (6 * host)
      for _ in 0..<200 {
        pool.run(parts: 7) { part, _ in
          let now = running.add(one, ordering: .relaxed).newValue
          if now & ~(63 * one) != 0 { overlaps.add(1, ordering: .relaxed) }
          calls[part] += 1
          running.subtract(one, ordering: .relaxed)
        }
      }
    }
    #expect(calls.values == Array(repeating: 1600, count: 7))
    #expect(overlaps.load(ordering: .relaxed) == 0)
  }

  @Test(arguments: [1, 2, 5])
  func aNestedCallRunsOnTheSpotWithTheSameWorker(threads: Int) throws {
    let pool = try makePool(threads: threads)
    let inner = Slots(8 * 6)
    let elsewhere = Atomic(0)
    pool.run(parts: 8) { outer, outerWorker in
      let thread = threadNumber()
      func isHere(_ worker: Int) -> Bool { worker == outerWorker && threadNumber() == thread }
      pool.run(parts: 6) { part, worker in
        inner[outer * 6 + part] += 1
        if !isHere(worker) { elsewhere.add(1, ordering: .relaxed) }
        pool.run(parts: 2) { _, worker in
          if !isHere(worker) { elsewhere.add(1, ordering: .relaxed) }
        }
      }
    }
    #expect(inner.values == Array(repeating: 1, count: 48))
    #expect(elsewhere.load(ordering: .relaxed) == 0)
  }

  @Test(arguments: [1, 2, 4])
  func poolsMayBeNestedInAnyOrder(threads: Int) throws {
    let one = try makePool(threads: threads)
    let other = try makePool(threads: 3)
    let calls = Atomic(0)
    onHostThreads(4) { host in
      let (outer, inner) = host % 2 == 0 ? (one, other) : (other, one)
      for _ in 0..<50 {
        outer.run(parts: 4) { _, _ in
          inner.run(parts: 3) { _, _ in
            outer.run(parts: 2) { _, _ in calls.add(1, ordering: .relaxed) }
          }
        }
      }
    }
    #expect(calls.load(ordering: .relaxed) == 4 * 50 * 4 * 3 * 2)
  }

  /// A pool that is free works for a task of another one with all its threads.
  @Test func aFreePoolHelpsATaskOfAnother() throws {
    let outer = try makePool(threads: 2)
    let inner = try makePool(threads: 3)
    let threads = Slots(3)
    outer.run(parts: 2) { part, _ in
      if part == 1 { inner.run(parts: 3) { part, _ in threads[part] = threadNumber() } }
    }
    #expect(Set(threads.values).count == 3)
  }

  @Test func poolsComeAndGo() throws {
    for round in 0..<200 {
      let pool = try makePool(threads: 1 + round % 5)
      if round % 3 == 0 { continue }
      let calls = Slots(9)
      pool.run(parts: 9) { part, _ in calls[part] += 1 }
      #expect(calls.values == Array(repeating: 1, count: 9), "round \(round)")
    }
  }

  @Test(arguments: [2, 3], [0, 100, 1_000_000])
  func restedWorkersWakeForTheNextJob(threads: Int, spinMicroseconds: Int) throws {
    let pool = try makePool(threads: threads, spinMicroseconds: spinMicroseconds)
    let calls = Slots(threads)
    for round in 0..<100 {
      pool.rest()
      if round % 10 == 0 { usleep(1000) }
      pool.run(parts: threads) { part, _ in calls[part] += 1 }
    }
    #expect(calls.values == Array(repeating: 100, count: threads))
  }

  /// A rest that comes while a job runs, from a thread that has nothing to do with it.
  @Test func aRestAtAnyTimeLosesNoJob() throws {
    let pool = try makePool(threads: 2)
    let calls = Slots(2)
    let done = Atomic(false)
    onHostThreads(2) { host in
      if host == 0 {
        for _ in 0..<2000 { pool.run(parts: 2) { part, _ in calls[part] += 1 } }
        done.store(true, ordering: .relaxed)
      } else {
        while !done.load(ordering: .relaxed) {
          pool.rest()
          sched_yield()
        }
      }
    }
    #expect(calls.values == [2000, 2000])
  }

  /// The caller's bounded spin ends long before its worker does.
  @Test func theCallerSleepsUntilASlowWorkerIsDone() throws {
    let pool = try makePool(threads: 2, spinMicroseconds: 1)
    let done = Slots(2)
    for _ in 0..<20 {
      pool.run(parts: 2) { part, _ in
        if part == 1 { usleep(2000) }
        done[part] += 1
      }
    }
    #expect(done.values == [20, 20])
  }

  @Test func tasksOfSwiftConcurrencyMayShareAPool() async throws {
    let pool = try makePool(threads: 2)
    let sums = await withTaskGroup(of: Int.self) { group in
      for task in 0..<16 {
        group.addTask {
          let partial = Slots(10)
          pool.run(parts: 10) { part, _ in partial[part] = task * part }
          return partial.values.reduce(0, +)
        }
      }
      return await group.reduce(into: Set()) { $0.insert($1) }
    }
    #expect(sums == Set((0..<16).map { $0 * 45 }))
  }

  @Test func workersRoundAsTheCallerDoes() throws {
    let pool = try makePool(threads: 3)
    let bits = Slots(3)
    let one = Slots(1)
    one[0] = 1
    func thirds() -> [Int] {
      pool.run(parts: 3) { part, _ in bits[part] = Int((Float(one[0]) / 3).bitPattern) }
      return bits.values
    }
    let nearest = thirds()
    let before = fegetround()
    fesetround(FE_DOWNWARD)
    let downward = thirds()
    fesetround(before)
    #expect(nearest == Array(repeating: Int((1 as Float / 3).bitPattern), count: 3))
    #expect(downward == Array(repeating: Int((1 as Float / 3).nextDown.bitPattern), count: 3))
    #expect(thirds() == nearest)
  }

  #if os(Linux)
    @Test func workersRunOnTheCPUsTheyAreGiven() throws {
      let allowed = try #require(Machine.current.allowedCPUs.last)
      let pool = try ThreadPool(threads: 3, allowed: 3, cpus: [-1, allowed, allowed])
      let pinned = Slots(3)
      pool.run(parts: 3) { part, _ in
        pinned[part] = status("thread-self", "Cpus_allowed_list") == String(allowed) ? 1 : 0
      }
      #expect(pinned[1] == 1)
      #expect(pinned[2] == 1)
    }

    @Test(arguments: [-1, 8191, 8192, Int(Int32.max), Int.max])
    func aCPUThatCannotBeHadLeavesItsWorkerUnpinned(cpu: Int) throws {
      let pool = try ThreadPool(threads: 2, allowed: 2, cpus: [0, cpu])
      let calls = Slots(2)
      pool.run(parts: 2) { part, _ in calls[part] += 1 }
      #expect(calls.values == [1, 1])
    }
  #endif

  @Test(arguments: [nil, 1])
  func aMachineMakesItsPool(threads: Int?) throws {
    let pool = try ThreadPool(on: .current, threads: threads)
    #expect(pool.threadCount == threads ?? Machine.current.defaultThreadCount)
    let calls = Slots(5)
    pool.run(parts: 5) { part, _ in calls[part] += 1 }
    #expect(calls.values == Array(repeating: 1, count: 5))
  }

  @Test(arguments: [0, -1, Int.min])
  func refusesFewerThanOneThread(threads: Int) {
    #expect(throws: TesseraError.invalidThreadCount(requested: threads, allowed: 4)) {
      _ = try ThreadPool(threads: threads, allowed: 4)
    }
  }

  @Test func refusesMoreThreadsThanAllowed() {
    #expect(throws: TesseraError.invalidThreadCount(requested: 5, allowed: 4)) {
      _ = try ThreadPool(threads: 5, allowed: 4)
    }
    let allowed = Machine.current.allowedCPUs.count
    let error = TesseraError.invalidThreadCount(requested: allowed + 1, allowed: allowed)
    #expect(throws: error) { _ = try ThreadPool(threads: allowed + 1, cpus: nil) }
    #expect(throws: error) { _ = try ThreadPool(on: .current, threads: allowed + 1) }
  }

  @Test func refusesMoreThreadsThanAPoolCanHave() {
    #expect(throws: TesseraError.invalidThreadCount(requested: 1025, allowed: 1024)) {
      _ = try ThreadPool(threads: 1025, allowed: 5000)
    }
  }

  @Test(arguments: [0, 1025])
  func theCPoolRefusesTheSameCounts(threads: Int) {
    var options = ck_pool_options(threads: threads, cpus: nil, spin_us: 0)
    var pool: OpaquePointer?
    #expect(ck_pool_create(&options, &pool).rawValue == 3)
    #expect(pool == nil)
  }

  #if os(Linux)
    /// Address space for some of the threads: creation fails half way, and must leave nothing behind.
    @Test(.disabled(if: isSanitized, "a sanitizer needs the address space"))
    func aRefusedThreadIsAnErrorAndLeavesNoThreads() async {
      await #expect(processExitsWith: .success) {
        let before = try #require(status("self", "Threads").flatMap { Int($0) })
        let kilobytes = try #require(status("self", "VmSize").flatMap { Int($0.prefix { $0.isNumber }) })
        let addressSpace = __rlimit_resource_t(RLIMIT_AS.rawValue)
        var old = rlimit()
        getrlimit(addressSpace, &old)
        var narrow = rlimit(rlim_cur: rlim_t(kilobytes * 1024 + 100 << 20), rlim_max: old.rlim_max)
        setrlimit(addressSpace, &narrow)
        #expect(throws: TesseraError.outOfMemory(bytes: 999 << 21)) { _ = try ThreadPool(threads: 1000, allowed: 1000) }
        setrlimit(addressSpace, &old)
        #expect(status("self", "Threads") == String(before))

        let pool = try ThreadPool(threads: 1000, allowed: 1000)
        #expect(status("self", "Threads") == String(before + 999))
        let calls = Slots(2000)
        pool.run(parts: 2000) { part, _ in calls[part] += 1 }
        #expect(calls.values == Array(repeating: 1, count: 2000))
      }
    }
  #endif
}

private func threadNumber() -> Int {
  #if canImport(Darwin)
    Int(bitPattern: pthread_self())
  #else
    Int(pthread_self())
  #endif
}

#if os(Linux)
  /// A field of /proc/self/status or /proc/thread-self/status.
  private func status(_ who: String, _ field: String) -> String? {
    guard let file = fopen("/proc/\(who)/status", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 1024)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      guard text.hasPrefix(field + ":") else { continue }
      return String(text.dropFirst(field.count + 1).drop(while: \.isWhitespace).prefix { !$0.isNewline })
    }
    return nil
  }

  private let isSanitized = dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil
#endif
