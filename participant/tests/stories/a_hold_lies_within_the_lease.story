# A hold is told behind a barrier where the lease would end before it
shard 2
lease 150 ms
store bob = 1 @-80

> hold try 3 from c2: bob
< read io1: bob
> rows io1
+ 1 Barrier
> durable
< c2: try 3 held for 75 ms: bob = 1 @-80
> wait 40 ms
> hold try 4 from c2: bob
< c2: try 4 held for 75 ms: bob = 1 @-80
> wait 60 ms
> hold try 5 from c2: bob
+ 2 Barrier
> durable
< c2: try 5 held for 75 ms: bob = 1 @-80
> drain
> hold try 6 from c2: bob
< c2: not leading, epoch 1
> release try 5 from c2
> wait 30 ms
+ 3 Resign
> durable
< halt: resigned
