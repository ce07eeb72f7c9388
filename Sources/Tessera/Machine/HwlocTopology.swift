#if Hwloc
  internal import CHwloc

  /// The topology by libhwloc, restricted to the CPUs that this process is bound to.
  enum HwlocTopology {
    /// nil when the library cannot load a topology or belongs to another major version than its header.
    static func read() -> Topology? {
      guard hwloc_get_api_version() >> 16 == UInt32(HWLOC_API_VERSION) >> 16 else { return nil }
      // Without these two flags the topology ignores the affinity mask and shows CPUs outside it.
      let own = UInt(HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM.rawValue) | UInt(HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING.rawValue)
      // The x86 backend binds the calling thread to each CPU in turn, so it only gets a turn where /sys says too little.
      let dontChangeBinding: UInt = hwloc_get_api_version() >= 0x20500 ? 1 << 6 : 0
      guard let gentle = load(flags: own | dontChangeBinding) else { return load(flags: own) }
      return gentle.cores.isEmpty || gentle.caches.isEmpty ? load(flags: own) ?? gentle : gentle
    }

    static func load(flags: UInt) -> Topology? {
      var handle: hwloc_topology_t?
      guard hwloc_topology_init(&handle) == 0, let handle else { return nil }
      defer { hwloc_topology_destroy(handle) }
      guard hwloc_topology_set_flags(handle, flags) == 0, hwloc_topology_load(handle) == 0 else { return nil }
      return Topology(source: .hwloc, cores: cores(handle), caches: caches(handle), nodes: nodes(handle))
    }

    private static func cores(_ topology: hwloc_topology_t) -> [Topology.Core] {
      objects(topology, HWLOC_OBJ_CORE).map { core in
        let package = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, core)?.pointee.os_index ?? 0
        return Topology.Core(cpus: cpus(core), package: package == UInt32.max ? 0 : Int(package), kind: kind(topology, core))
      }
    }

    private static func kind(_ topology: hwloc_topology_t, _ core: hwloc_obj_t) -> Int {
      let index = hwloc_cpukinds_get_by_cpuset(topology, core.pointee.cpuset, 0)
      var efficiency: Int32 = -1
      guard index >= 0, hwloc_cpukinds_get_info(topology, UInt32(index), nil, &efficiency, nil, nil, 0) == 0 else { return 0 }
      return max(0, Int(efficiency))
    }

    private static func caches(_ topology: hwloc_topology_t) -> [Topology.CacheInstance] {
      [HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE].flatMap { type in
        objects(topology, type).map { object in
          let cache = object.pointee.attr.pointee.cache
          return Topology.CacheInstance(
            level: Int(cache.depth), bytes: Int(clamping: cache.size), lineBytes: cache.linesize == 0 ? 64 : Int(cache.linesize),
            cpus: cpus(object))
        }
      }
    }

    private static func nodes(_ topology: hwloc_topology_t) -> [Machine.Node] {
      objects(topology, HWLOC_OBJ_NUMANODE).map { node in
        Machine.Node(
          number: Int(node.pointee.os_index), cpus: cpus(node),
          memoryBytes: Int(clamping: node.pointee.attr.pointee.numanode.local_memory))
      }
    }

    private static func objects(_ topology: hwloc_topology_t, _ type: hwloc_obj_type_t) -> [hwloc_obj_t] {
      let count = max(0, hwloc_get_nbobjs_by_type(topology, type))
      return (0..<count).compactMap { hwloc_get_obj_by_type(topology, type, UInt32($0)) }
    }

    private static func cpus(_ object: hwloc_obj_t) -> [Int] {
      var cpus: [Int] = []
      var cpu = hwloc_bitmap_first(object.pointee.cpuset)
      while cpu >= 0 {
        cpus.append(Int(cpu))
        cpu = hwloc_bitmap_next(object.pointee.cpuset, cpu)
      }
      return cpus
    }
  }
#endif
