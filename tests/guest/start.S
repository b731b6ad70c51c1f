/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: multiboot header, entry, interrupt stubs
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#define MULTIBOOT_MAGIC     0x1badb002
#define MULTIBOOT_FLAGS     0x00000002      /* give us the memory size */

#define LAPIC_ID            0xfee00020
#define SMP_CPUS_OTHER      7           /* SMP_CPUS_MAX but the boot CPU */
#define SMP_STACK_SHIFT     12          /* 4 KiB each */

        .section .multiboot, "a"
        .align  4
        .long   MULTIBOOT_MAGIC
        .long   MULTIBOOT_FLAGS
        .long   -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

        .text
        .code32
        .globl  _start
_start:
        cli
        lgdt    gdt_pointer
        ljmp    $0x08, $1f
1:
        movw    $0x10, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movw    %cx, %fs
        movw    %cx, %gs
        movw    %cx, %ss
        movl    $stack_top, %esp
        pushl   %ebx                    /* multiboot information */
        pushl   %eax                    /* boot loader's magic */
        call    workload_main
2:
        cli
        hlt
        jmp     2b

/* The timer only has to end a hlt: acknowledge and return. */
        .globl  irq_timer_stub
irq_timer_stub:
        pushl   %eax
        movb    $0x20, %al
        outb    %al, $0x20
        popl    %eax
        iret

/* Everything else is masked; a spurious interrupt needs no acknowledge. */
        .globl  irq_spurious_stub
irq_spurious_stub:
        iret

/* An exception means that code, stack or page contents were damaged. */
        .globl  exception_stub
exception_stub:
        call    platform_exception
3:
        cli
        hlt
        jmp     3b

/*
 * A further CPU begins here, in real mode at a page below 1 MiB to which this
 * is copied: position independent but for what lies in the program.
 */
        .code16
        .globl  smp_trampoline, smp_trampoline_end
smp_trampoline:
        cli
        movw    %cs, %cx
        movw    %cx, %ds
        lgdtl   smp_gdt_pointer - smp_trampoline
        movl    %cr0, %eax
        orb     $1, %al                 /* protected mode */
        movl    %eax, %cr0
        ljmpl   $0x08, $smp_entry
smp_gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
smp_trampoline_end:

        .code32
smp_entry:
        movw    $0x10, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movw    %cx, %fs
        movw    %cx, %gs
        movw    %cx, %ss
        movl    LAPIC_ID, %eax
        shrl    $24, %eax
        movl    %eax, %esp
        shll    $SMP_STACK_SHIFT, %esp
        addl    $smp_stacks, %esp       /* the top of its stack, as ids are */
        pushl   %eax                    /* above 0 */
        call    smp_cpu_main

        .section .rodata
        .align  8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* 0x08: flat code */
        .quad   0x00cf93000000ffff      /* 0x10: flat data */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .bss
        .align  16
        .skip   16384
stack_top:
smp_stacks:
        .skip   SMP_CPUS_OTHER << SMP_STACK_SHIFT

        .section .note.GNU-stack, "", @progbits
