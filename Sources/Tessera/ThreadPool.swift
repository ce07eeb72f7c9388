internal import CKernels

/// Threads that stay alive and share the parts of one job after another: a fork and join costs less than a microsecond while they
/// spin.
///
/// ```swift
/// let pool = try ThreadPool(on: .current)
/// pool.run(parts: panels) { panel, worker in multiply(panel, scratch[worker]) }
/// ```
///
/// Part `p` always runs on worker `p % threadCount`, so each core meets the same panels in every pass and its caches and its
/// memory node stay useful. Worker 0 is the calling thread; the others are threads of the pool's own.
///
/// Any thread may use a pool at any time. Jobs of several threads run one after the other. A job started inside a task never
/// waits for another: if its pool is busy, its parts run on the spot. So pools may be nested in any order without deadlock.
/// A job occupies its caller until it is done: from Swift concurrency, call it where a computation of that length would be.
public final class ThreadPool: @unchecked Sendable {
  // Sendable because the C pool orders its callers itself, and nothing else changes after initialisation.

  /// How many threads take part, the calling one included.
  public let threadCount: Int

  private let pool: OpaquePointer

  /// A pool for `machine`, pinned as `Machine.cpusForThreads(_:)` advises.
  ///
  /// - Parameters:
  ///   - machine: whose CPUs they run on.
  ///   - threads: nil takes `Machine.defaultThreadCount`: one thread for each core.
  ///   - spinMicroseconds: As below.
  /// - Throws: `TesseraError.invalidThreadCount` unless `threads` lies between 1 and the CPUs that this process may use;
  ///   `TesseraError.outOfMemory` when the system refuses a thread.
  public convenience init(on machine: Machine, threads: Int? = nil, spinMicroseconds: Int = 100) throws(TesseraError) {
    let threads = threads ?? machine.defaultThreadCount
    try self.init(
      threads: threads, allowed: machine.allowedCPUs.count, cpus: machine.cpusForThreads(threads),
      spinMicroseconds: spinMicroseconds)
  }

  /// A pool whose workers run where the caller says.
  ///
  /// - Parameters:
  ///   - threads: From 1 to the number of CPUs that this process may use; the pool starts one thread less.
  ///   - cpus: One CPU number for each worker to be pinned to, or nil to leave all of them to the scheduler. The first is
  ///     unused: the calling thread stays as it is. A worker whose CPU cannot be had stays unpinned.
  ///   - spinMicroseconds: How long an idle worker watches for the next job before it sleeps. A sleeping worker takes about
  ///     50 us to wake, a spinning one keeps its core busy; 0 sleeps at once.
  /// - Throws: `TesseraError.invalidThreadCount`, or `TesseraError.outOfMemory` when the system refuses a thread.
  public convenience init(threads: Int, cpus: [Int]?, spinMicroseconds: Int = 100) throws(TesseraError) {
    try self.init(
      threads: threads, allowed: Machine.current.allowedCPUs.count, cpus: cpus, spinMicroseconds: spinMicroseconds)
  }

  /// `allowed` lets tests have more threads than the machine has CPUs.
  package init(threads: Int, allowed: Int, cpus: [Int]? = nil, spinMicroseconds: Int = 100) throws(TesseraError) {
    let most = min(allowed, Int(CK_POOL_MOST_THREADS))
    guard threads >= 1, threads <= most else { throw .invalidThreadCount(requested: threads, allowed: most) }
    if let cpus { precondition(cpus.count == threads, "\(cpus.count) CPUs for \(threads) threads") }
    precondition(spinMicroseconds >= 0, "a spin of \(spinMicroseconds) us")

    let spin = UInt32(clamping: spinMicroseconds)
    guard let pool = ThreadPool.create(threads: threads, cpus: cpus?.map { Int32(exactly: $0) ?? -1 }, spin: spin) else {
      throw .outOfMemory(bytes: (threads - 1) * Int(CK_POOL_STACK_BYTES))
    }
    self.pool = pool
    threadCount = threads
  }

  /// Returns nil when the system refuses memory or a thread: the count of threads has been checked.
  private static func create(threads: Int, cpus: [Int32]?, spin: UInt32) -> OpaquePointer? {
    func create(_ cpus: UnsafePointer<Int32>?) -> OpaquePointer? {
      var pool: OpaquePointer?
      var options = ck_pool_options(threads: threads, cpus: cpus, spin_us: spin)
      _ = ck_pool_create(&options, &pool)
      return pool
    }
    guard let cpus else { return create(nil) }
    return cpus.withUnsafeBufferPointer { create($0.baseAddress) }
  }

  deinit { ck_pool_destroy(pool) }

  /// Calls `body` once for each part in `0..<parts`, from all threads at once, and returns when all calls have returned.
  ///
  /// What the calls wrote is visible to the caller afterwards. `body` is called concurrently: two calls may share memory only
  /// if they do not write to it. Nothing is allocated.
  ///
  /// - Parameters:
  ///   - parts: At least 0. Best a multiple of `threadCount`, or many times as large.
  ///   - body: Does one part. No two calls of one `run` have the same `worker` at the same time, so scratch memory may be
  ///     indexed by it; such memory belongs to this `run`, since a nested one may use the same number.
  public func run(parts: Int, _ body: (_ part: Int, _ worker: Int) -> Void) {
    precondition(parts >= 0, "\(parts) parts")
    runClosure(pool, parts, body)
    withExtendedLifetime(self) {}
  }

  /// `run` on a pool, or one part after the other on the calling thread, worker 0, where there is none.
  package static func run(parts: Int, on pool: ThreadPool?, _ body: (_ part: Int, _ worker: Int) -> Void) {
    if let pool {
      pool.run(parts: parts, body)
    } else {
      for part in 0..<parts { body(part, 0) }
    }
  }

  /// Sends the workers to sleep without waiting for the end of their spin; the next `run` wakes them.
  ///
  /// Call it when a burst of work is over, such as the generation of a text.
  public func rest() { ck_pool_rest(pool) }
}

/// CKernels/pool/closure.c, which says why this is no ordinary import.
@_silgen_name("ck_pool_run_closure")
private func runClosure(_ pool: OpaquePointer, _ parts: Int, _ body: (Int, Int) -> Void)
