# Beyond the bound of conversations calls are refused at once, before anything is sent
in-flight 1
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> submit t1 as call 2
< call 2: overloaded, calls in flight
> read as call 3: 1 alice
< call 3: overloaded
> outcome t1 as call 4
< call 4: unknown
