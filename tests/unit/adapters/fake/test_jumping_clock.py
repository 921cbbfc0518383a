from kaito.adapters.fake.jumping_clock import JumpingClock


def test_a_jump_lasts_until_the_clock_is_set_right() -> None:
    now_s = 1000.0
    clock = JumpingClock(lambda: now_s)
    assert clock.now_s() == 1000.0
    clock.jump(3600.0, until_s=1060.0)
    assert clock.now_s() == 4600.0
    now_s = 1059.0
    assert clock.now_s() == 4659.0
    now_s = 1060.0
    assert clock.now_s() == 1060.0


def test_jumps_add_up_and_may_last_for_good() -> None:
    clock = JumpingClock(lambda: 1000.0)
    clock.jump(-100.0)
    clock.jump(30.0)
    assert clock.now_s() == 930.0
