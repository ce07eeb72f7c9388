import Tessera

print(Machine.current)
